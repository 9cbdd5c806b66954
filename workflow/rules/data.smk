"""Demonstrations, preference pairs or labels, prompts and the tokenizer of each task."""


def data_files(task):
    """Files of a real corpus below data_root; none for the embedded corpora and for the hub."""
    if CONFIG.data_root is None:
        return []
    patterns = CONFIG.tasks[TASKS[task]].corpus.files
    return sorted(path for pattern in patterns for path in glob.glob(f"{CONFIG.data_root}/{pattern}"))


rule prepare_data:
    input:
        files=lambda w: data_files(w.task),
    output:
        demonstrations=f"{SHARED}/{{task}}/data/demonstrations.parquet",
        pairs=f"{SHARED}/{{task}}/data/pairs.parquet",
        labels=f"{SHARED}/{{task}}/data/labels.parquet",
        prompts=f"{SHARED}/{{task}}/data/prompts.parquet",
        tokenizer=directory(f"{SHARED}/{{task}}/data/tokenizer"),
    log:
        "logs/{task}/prepare_data.log",
    conda:
        "../../envs/cpu.yaml"
    params:
        task=lambda w: settings_json(CONFIG.tasks[TASKS[w.task]]),
        folder=lambda w: f"{SHARED}/{w.task}/data",
        root=f"--data-root {CONFIG.data_root}" if CONFIG.data_root else "",
        code=code_hash("scripts/prepare_data.py"),
    shell:
        "python scripts/prepare_data.py --task {params.task:q} {params.root}"
        " --out {params.folder} 2> {log}"
