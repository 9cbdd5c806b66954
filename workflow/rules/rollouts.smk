"""K reference responses per prompt, scored once for all policies: those of training and those of each condition."""


def condition_of(w):
    return REFERENCE_SETS[w.task][w.responses]


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
        split=lambda w: condition_of(w).split,
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
