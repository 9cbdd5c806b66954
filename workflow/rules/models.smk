"""The reference policy of each task, and all reward models and judges."""


rule train_reference:
    input:
        demonstrations=rules.prepare_data.output.demonstrations,
        tokenizer=rules.prepare_data.output.tokenizer,
    output:
        model=directory(f"{SHARED}/{{task_folder}}/models/reference"),
    log:
        "logs/{task_folder}/train_reference.log",
    params:
        settings=lambda w: settings_json(task_at(w).reference),
        seed=lambda w: task_at(w).seed,
        code=code("train_reference.py"),
    shell:
        "python {SCRIPTS:q}/train_reference.py {input.demonstrations:q} --tokenizer {input.tokenizer:q}"
        " --settings {params.settings:q} --seed {params.seed:q} --out {output.model:q} 2> {log:q}"


def of_training(path):
    """Input function: a shared file of the task whose model is trained."""
    return lambda w: f"{SHARED}/{FOLDER_OF[TRAININGS[w.preference_model].task]}/{path}"


rule train_preference_model:
    input:
        pairs=of_training("data/pairs.parquet"),
        labels=of_training("data/labels.parquet"),
        demonstrations=of_training("data/demonstrations.parquet"),
        tokenizer=of_training("data/tokenizer"),
        reference=of_training("models/reference"),
    output:
        model=directory("results/{preference_model}"),
    log:
        "logs/{preference_model}/train.log",
    params:
        settings=lambda w: settings_json(TRAININGS[w.preference_model].settings),
        options=lambda w: TRAININGS[w.preference_model].options,
        seed=lambda w: CONFIG.tasks[TRAININGS[w.preference_model].task].seed,
        code=code("train_preference_model.py"),
    shell:
        "python {SCRIPTS:q}/train_preference_model.py {input.pairs:q} --labels {input.labels:q}"
        " {params.options:q} --demonstrations {input.demonstrations:q} --tokenizer {input.tokenizer:q}"
        " --reference {input.reference:q} --settings {params.settings:q} --seed {params.seed:q}"
        " --out {output.model:q} 2> {log:q}"
