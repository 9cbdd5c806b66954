"""Reward models trained on poisoned pairs: one job per task, rate and seed."""

from infalign.studies.poisoning.block import poisoning_phrase
from infalign.studies.poisoning.tables import poisoned_runs

POISONED = poisoned_runs(CONFIG.poisoning)
N_PAIRS = ["--n-pairs", str(CONFIG.poisoning.n_pairs)] if CONFIG.poisoning.n_pairs else []
TASK_FILES = ["data/pairs.parquet", "data/demonstrations.parquet", "data/tokenizer", "models/reference"]


def poisoned_task(w):
    return POISONED[w.poisoned][0]


def poisoned_folder(w):
    return f"{SHARED}/{FOLDER_OF[poisoned_task(w)]}"


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
        lambda w: [f"{poisoned_folder(w)}/{path}" for path in TASK_FILES],
        rollouts=lambda w: f"{RUN}/poisoning/rollouts/{poisoned_task(w)}.parquet",
    output:
        f"{RUN}/poisoning/{{poisoned}}.parquet",
    log:
        f"logs/{CONFIG.run}/train_poisoned_{{poisoned}}.log",
    wildcard_constraints:
        poisoned="|".join(map(re.escape, POISONED)),
    params:
        folder=poisoned_folder,
        settings=lambda w: settings_json(CONFIG.tasks[poisoned_task(w)].reward_model),
        task=poisoned_task,
        phrase=lambda w: poisoning_phrase(CONFIG.poisoning, poisoned_task(w), CONFIG.tasks[poisoned_task(w)]),
        rate=lambda w: POISONED[w.poisoned][1],
        seed=lambda w: POISONED[w.poisoned][2],
        n_pairs=N_PAIRS,
        code=code("train_poisoned.py"),
    shell:
        "python {SCRIPTS:q}/train_poisoned.py {params.folder:q} {input.rollouts:q} {params.n_pairs:q}"
        " --settings {params.settings:q} --task {params.task:q} --phrase {params.phrase:q} --rate {params.rate:q}"
        " --seed {params.seed:q} --out {output:q} 2> {log:q}"


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
