"""K reference responses per prompt, scored once for all policies: those of training and those of each condition."""


def condition_of(w):
    return REFERENCE_SETS[w.task][split_name(w.responses)[0]]


def engine_option(task):
    """Option of the scoring script; none where it is the script's default."""
    engine = task.rollouts.engine
    return "" if engine == "transformers" else f"--engine {engine}"


rule sample_rollouts:
    input:
        model=rules.train_reference.output.model,
        prompts=rules.prepare_data.output.prompts,
    output:
        f"{SHARED}/{{task}}/rollouts/{{responses}}.parquet",
    log:
        "logs/{task}/sample_rollouts_{responses}.log",
    benchmark:
        f"{SHARED}/{{task}}/rollouts/{{responses}}.seconds.tsv"
    conda:
        "../../envs/gpu.yaml"
    params:
        split=lambda w: split_option(condition_of(w).split, w.responses),
        settings=lambda w: settings_json(reference_sampling(CONFIG.tasks[TASKS[w.task]], condition_of(w))),
        seed=lambda w: CONFIG.tasks[TASKS[w.task]].seed,
        code=code_hash("scripts/sample.py"),
    shell:
        "python scripts/sample.py {input.model} {input.prompts} --split {params.split}"
        " --settings {params.settings:q} --seed {params.seed} --out {output} 2> {log}"


rule score_rollouts:
    input:
        responses=rules.sample_rollouts.output,
        prompts=rules.prepare_data.output.prompts,
        reward=f"{MODELS}/reward_model",
        judge=f"{MODELS}/judge",
    output:
        f"{SHARED}/{{task}}/scores/{{responses}}.parquet",
    log:
        "logs/{task}/score_rollouts_{responses}.log",
    benchmark:
        f"{SHARED}/{{task}}/scores/{{responses}}.seconds.tsv"
    conda:
        "../../envs/gpu.yaml"
    params:
        corpus=lambda w: settings_json(CONFIG.tasks[TASKS[w.task]].corpus),
        engine=lambda w: engine_option(CONFIG.tasks[TASKS[w.task]]),
        code=code_hash("scripts/score.py"),
    shell:
        "python scripts/score.py {input.responses} {input.prompts} --reward-model {input.reward}"
        " --judge {input.judge} --corpus {params.corpus:q} {params.engine} --out {output} 2> {log}"


# Tasks with their number of shards, where it is more than one: their sets of responses are put together from these.
ROLLOUT_SHARDS = {folder: CONFIG.tasks[name].rollouts.shards for folder, name in TASKS.items()}
ROLLOUT_SHARDS = {folder: shards for folder, shards in ROLLOUT_SHARDS.items() if shards > 1}

if ROLLOUT_SHARDS:

    def shards_of(end):
        """Input function: the files of a set's shards, rollouts or their scores, that end so."""
        return lambda w: [
            f"{SHARED}/{w.task}/{w.part}/{name}.{end}"
            for name in shard_names(w.responses, ROLLOUT_SHARDS[w.task])
        ]

    WHOLE_SETS = "|".join({name for sets in REFERENCE_SETS.values() for name in sets})

    ruleorder: merge_rollouts > sample_rollouts
    ruleorder: merge_rollouts > score_rollouts
    ruleorder: sum_seconds > sample_rollouts
    ruleorder: sum_seconds > score_rollouts

    rule merge_rollouts:
        input:
            shards_of("parquet"),
        output:
            f"{SHARED}/{{task}}/{{part}}/{{responses}}.parquet",
        log:
            "logs/{task}/merge_{part}_{responses}.log",
        wildcard_constraints:
            task="|".join(ROLLOUT_SHARDS),
            part="rollouts|scores",
            responses=WHOLE_SETS,
        conda:
            "../../envs/cpu.yaml"
        params:
            code=code_hash("scripts/merge_shards.py"),
        shell:
            "python scripts/merge_shards.py {input} --out {output} 2> {log}"

    rule sum_seconds:
        input:
            shards_of("seconds.tsv"),
        output:
            f"{SHARED}/{{task}}/{{part}}/{{responses}}.seconds.tsv",
        log:
            "logs/{task}/sum_seconds_{part}_{responses}.log",
        wildcard_constraints:
            task="|".join(ROLLOUT_SHARDS),
            part="rollouts|scores",
            responses=WHOLE_SETS,
        conda:
            "../../envs/cpu.yaml"
        params:
            code=code_hash("scripts/sum_seconds.py"),
        shell:
            "python scripts/sum_seconds.py {input} --out {output} 2> {log}"
