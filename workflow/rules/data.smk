"""Demonstrations, preference pairs or labels, prompts and the tokenizer of each task."""


def data_files(task):
    """Files of a real corpus below data_root; none for the embedded corpora and for the hub."""
    corpus = CONFIG.tasks[TASKS[task]].corpus
    if CONFIG.data_root is None:
        return []
    patterns = [f"{CONFIG.data_root}/{pattern}" for pattern in corpus.files]
    return sorted(file for pattern in patterns for file in glob.glob(pattern, recursive=True))


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
        task=lambda w: shared_json(CONFIG.tasks[TASKS[w.task]]),
        folder=lambda w: f"{SHARED}/{w.task}/data",
        root=f"--data-root {CONFIG.data_root}" if CONFIG.data_root else "",
        code=code_hash("scripts/prepare_data.py"),
    shell:
        "python scripts/prepare_data.py --task {params.task:q} {params.root}"
        " --out {params.folder} 2> {log}"
