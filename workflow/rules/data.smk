"""Demonstrations, preference pairs or labels, prompts and the tokenizer of each task."""

from pathlib import Path


def data_files(w):
    """Files of a real corpus below data_root; none for the embedded corpora and for the hub."""
    if CONFIG.data_root is None:
        return []
    root = Path(CONFIG.data_root)
    return sorted(str(file) for pattern in task_at(w).corpus.files for file in root.glob(pattern))


rule prepare_data:
    input:
        files=data_files,
    output:
        demonstrations=f"{SHARED}/{{task_folder}}/data/demonstrations.parquet",
        pairs=f"{SHARED}/{{task_folder}}/data/pairs.parquet",
        labels=f"{SHARED}/{{task_folder}}/data/labels.parquet",
        prompts=f"{SHARED}/{{task_folder}}/data/prompts.parquet",
        tokenizer=directory(f"{SHARED}/{{task_folder}}/data/tokenizer"),
    log:
        "logs/{task_folder}/prepare_data.log",
    params:
        task=lambda w: shared_json(task_at(w)),
        folder=lambda w: f"{SHARED}/{w.task_folder}/data",
        root=["--data-root", CONFIG.data_root] if CONFIG.data_root else [],
        code=code("prepare_data.py"),
    shell:
        "python {SCRIPTS:q}/prepare_data.py --task {params.task:q} {params.root:q}"
        " --out {params.folder:q} 2> {log:q}"
