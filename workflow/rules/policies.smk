"""One training job per policy. `{policy}` is its folder: <task>-<hash>/policies/<method>-<hash>/<policy>."""


def of_policy_task(path):
    """Input function: a shared file of the task that a policy belongs to."""
    return lambda w: f"{SHARED}/{FOLDER_OF[POLICY_OF[w.policy].task]}/{path}"


def method_of(w):
    return CONFIG.methods[POLICY_OF[w.policy].method]


TRAINER_CODE = {script: code(script) for script in {method.script for method in METHODS.values()}}


def launcher(w, resources):
    """How a training is started: by the profile's `launch` if its script knows several processes, else by python.

    Snakemake does not record what comes from resources, so another number of processes trains nothing again.
    """
    return resources.get("launch", "python") if method_of(w).several_processes else "python"


rule train_policy:
    input:
        reference=of_policy_task("models/reference"),
        reward=of_policy_task("models/reward_model"),
        prompts=of_policy_task("data/prompts.parquet"),
        pairs=of_policy_task("data/pairs.parquet"),
        scores=of_policy_task("scores/train.parquet"),
    output:
        model=directory(f"{SHARED}/{{policy}}/model"),
        log=f"{SHARED}/{{policy}}/training.parquet",
    log:
        "logs/{policy}/train_policy.log",
    params:
        policy=lambda w: json.dumps(asdict(POLICY_OF[w.policy]), sort_keys=True),
        settings=lambda w: settings_json(method_of(w)),
        rollouts=lambda w: settings_json(CONFIG.tasks[POLICY_OF[w.policy].task].rollouts),
        scratch=lambda w: f"results/scratch/{w.policy}",
        launch=launcher,
        script=lambda w: method_of(w).script,
        code=lambda w: TRAINER_CODE[method_of(w).script],
    shell:
        "{params.launch} {SCRIPTS:q}/{params.script:q} --policy {params.policy:q} --settings {params.settings:q}"
        " --rollouts {params.rollouts:q} --reference {input.reference:q} --reward-model {input.reward:q}"
        " --prompts {input.prompts:q} --pairs {input.pairs:q} --scores {input.scores:q}"
        " --scratch {params.scratch:q} --out {output.model:q} --log {output.log:q} 2> {log:q}"
