"""One training job per policy; one sampling and one scoring job per policy and condition.

`{at}` is a policy's folder below results/tasks/: <task>-<hash>/policies/<method>-<hash>/<policy>.
"""


def shared(path):
    """Input function: a file of the task that a policy belongs to."""
    return lambda w: f"{SHARED}/{w.at.split('/')[0]}/{path}"


def policy_of(w):
    return POLICY_AT[w.at]


TRAINER_CODE = {script: code_hash(script) for script in {method.script for method in METHODS.values()}}


def launcher(w, resources):
    """How a training is started: by what the profile says where its script knows several processes, else by python.

    What comes from resources Snakemake does not record: another number of processes trains nothing again.
    """
    return resources.get("launch", "python") if method_of(w).several_processes else "python"


def method_of(w):
    return CONFIG.methods[policy_of(w).method]


def task_of(w):
    return CONFIG.tasks[POLICY_AT[w.at].task]


def sampled_at(w):
    return POLICY_SETS[w.at.split("/")[0]][split_name(w.samples)[0]]


rule train_policy:
    input:
        reference=shared("models/reference"),
        reward=shared("models/reward_model"),
        prompts=shared("data/prompts.parquet"),
        pairs=shared("data/pairs.parquet"),
        scores=shared("scores/train.parquet"),
    output:
        model=directory(f"{SHARED}/{{at}}/model"),
        log=f"{SHARED}/{{at}}/training.parquet",
    log:
        "logs/{at}/train_policy.log",
    conda:
        "../../envs/gpu.yaml"
    params:
        policy=lambda w: json.dumps(asdict(policy_of(w)), sort_keys=True),
        settings=lambda w: settings_json(method_of(w)),
        rollouts=lambda w: settings_json(task_of(w).rollouts),
        scratch=lambda w: f"results/scratch/{w.at}",
        launch=launcher,
        script=lambda w: method_of(w).script,
        code=lambda w: TRAINER_CODE[method_of(w).script],
    shell:
        "{params.launch} {params.script} --policy {params.policy:q} --settings {params.settings:q}"
        " --rollouts {params.rollouts:q} --reference {input.reference} --reward-model {input.reward}"
        " --prompts {input.prompts} --pairs {input.pairs} --scores {input.scores} --scratch {params.scratch}"
        " --out {output.model} --log {output.log} 2> {log}"


rule sample_policy:
    input:
        model=rules.train_policy.output.model,
        prompts=shared("data/prompts.parquet"),
    output:
        f"{SHARED}/{{at}}/samples/{{samples}}.parquet",
    log:
        "logs/{at}/sample_{samples}.log",
    conda:
        "../../envs/gpu.yaml"
    params:
        split=lambda w: split_option(sampled_at(w).split, w.samples),
        settings=lambda w: settings_json(policy_sampling(task_of(w), sampled_at(w))),
        seed=lambda w: task_of(w).seed + 1,  # shared by all policies, never by the reference's own rollouts
        code=code_hash("scripts/sample.py"),
    shell:
        "python scripts/sample.py {input.model} {input.prompts} --split {params.split}"
        " --settings {params.settings:q} --seed {params.seed} --out {output} 2> {log}"


rule score_policy:
    input:
        responses=rules.sample_policy.output,
        prompts=shared("data/prompts.parquet"),
        model=rules.train_policy.output.model,
        reference=shared("models/reference"),
        reward=shared("models/reward_model"),
        judge=shared("models/judge"),
    output:
        f"{SHARED}/{{at}}/scores/{{samples}}.parquet",
    log:
        "logs/{at}/score_{samples}.log",
    conda:
        "../../envs/gpu.yaml"
    params:
        corpus=lambda w: settings_json(task_of(w).corpus),
        temperature=lambda w: sampled_at(w).temperature,
        engine=lambda w: engine_option(task_of(w)),
        code=code_hash("scripts/score.py"),
    shell:
        "python scripts/score.py {input.responses} {input.prompts} --reward-model {input.reward}"
        " --judge {input.judge} --corpus {params.corpus:q} --policy {input.model}"
        " --reference {input.reference} --temperature {params.temperature} {params.engine} --out {output} 2> {log}"


SAMPLE_SHARDS = {at: CONFIG.tasks[policy.task].samples.shards for at, policy in POLICY_AT.items()}
SAMPLE_SHARDS = {at: shards for at, shards in SAMPLE_SHARDS.items() if shards > 1}

if SAMPLE_SHARDS:

    ruleorder: merge_samples > sample_policy
    ruleorder: merge_samples > score_policy

    rule merge_samples:
        input:
            lambda w: [
                f"{SHARED}/{w.at}/{w.part}/{name}.parquet"
                for name in shard_names(w.samples, SAMPLE_SHARDS[w.at])
            ],
        output:
            f"{SHARED}/{{at}}/{{part}}/{{samples}}.parquet",
        log:
            "logs/{at}/merge_{part}_{samples}.log",
        wildcard_constraints:
            at=folders_pattern(SAMPLE_SHARDS),
            part="samples|scores",
            samples="|".join({name for sets in POLICY_SETS.values() for name in sets}),
        conda:
            "../../envs/cpu.yaml"
        params:
            code=code_hash("scripts/merge_shards.py"),
        shell:
            "python scripts/merge_shards.py {input} --out {output} 2> {log}"
