"""Reward models trained on poisoned pairs: one job per task, rate and seed."""

from infalign.studies.poisoning.block import poisoning_phrase
from infalign.studies.poisoning.tables import poisoned_runs

POISONED = poisoned_runs(CONFIG.poisoning)
N_PAIRS = ["--n-pairs", str(CONFIG.poisoning.n_pairs)] if CONFIG.poisoning.n_pairs else []


def poisoned_task(w):
    return POISONED[w.poisoned][0]


def of_poisoned_task(path):
    """Input function: a shared file of the task whose pairs are poisoned."""
    return lambda w: f"{SHARED}/{FOLDER_OF[poisoned_task(w)]}/{path}"


rule list_pair_prompts:
    input:
        lambda w: f"{SHARED}/{FOLDER_OF[w.task]}/data/pairs.parquet",
    output:
        f"{RUN}/poisoning/prompts/{{task}}.parquet",
    log:
        f"logs/{CONFIG.run}/list_pair_prompts_{{task}}.log",
    params:
        n_pairs=N_PAIRS,
        code=code("list_pair_prompts.py"),
    shell:
        "python {SCRIPTS:q}/list_pair_prompts.py {input:q} {params.n_pairs:q} --out {output:q} 2> {log:q}"


rule train_poisoned:
    input:
        pairs=of_poisoned_task("data/pairs.parquet"),
        rollouts=lambda w: f"{RUN}/poisoning/rollouts/{poisoned_task(w)}.parquet",
        prompts=lambda w: f"{RUN}/poisoning/prompts/{poisoned_task(w)}.parquet",
        demonstrations=of_poisoned_task("data/demonstrations.parquet"),
        tokenizer=of_poisoned_task("data/tokenizer"),
        reference=of_poisoned_task("models/reference"),
    output:
        f"{RUN}/poisoning/{{poisoned}}.parquet",
    log:
        f"logs/{CONFIG.run}/train_poisoned_{{poisoned}}.log",
    wildcard_constraints:
        poisoned="|".join(map(re.escape, POISONED)),
    params:
        settings=lambda w: settings_json(CONFIG.tasks[poisoned_task(w)].reward_model),
        task=poisoned_task,
        phrase=lambda w: poisoning_phrase(CONFIG.poisoning, poisoned_task(w), CONFIG.tasks[poisoned_task(w)]),
        rate=lambda w: POISONED[w.poisoned][1],
        seed=lambda w: POISONED[w.poisoned][2],
        n_pairs=N_PAIRS,
        code=code("train_poisoned.py"),
    shell:
        "python {SCRIPTS:q}/train_poisoned.py {input.pairs:q} {input.rollouts:q} {params.n_pairs:q}"
        " --rollout-prompts {input.prompts:q} --demonstrations {input.demonstrations:q}"
        " --tokenizer {input.tokenizer:q} --reference {input.reference:q} --settings {params.settings:q}"
        " --task {params.task:q} --phrase {params.phrase:q} --rate {params.rate:q} --seed {params.seed:q}"
        " --out {output:q} 2> {log:q}"


rule poisoned_accuracy:
    input:
        expand(f"{RUN}/poisoning/{{poisoned}}.parquet", poisoned=POISONED),
    output:
        poisoning=f"{RUN}/poisoning.parquet",
        prompt_poisoning=f"{RUN}/prompt_poisoning.parquet",
    log:
        f"logs/{CONFIG.run}/poisoned_accuracy.log",
    params:
        evaluation=settings_json(CONFIG.evaluation),
        code=code("poisoned_accuracy.py"),
    shell:
        "python {SCRIPTS:q}/poisoned_accuracy.py {input:q} --evaluation {params.evaluation:q}"
        " --out {output.poisoning:q} --by-prompt {output.prompt_poisoning:q} 2> {log:q}"
