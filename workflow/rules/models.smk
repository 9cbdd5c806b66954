"""The reference policy, the reward model and the judge of each task."""

MODELS = f"{SHARED}/{{task}}/models"


rule train_reference:
    input:
        demonstrations=rules.prepare_data.output.demonstrations,
        tokenizer=rules.prepare_data.output.tokenizer,
    output:
        model=directory(f"{MODELS}/reference"),
    log:
        "logs/{task}/train_reference.log",
    conda:
        "../../envs/gpu.yaml"
    params:
        settings=lambda w: settings_json(CONFIG.tasks[TASKS[w.task]].reference),
        seed=lambda w: CONFIG.tasks[TASKS[w.task]].seed,
        code=code_hash("scripts/train_reference.py"),
    shell:
        "python scripts/train_reference.py {input.demonstrations} --tokenizer {input.tokenizer}"
        " --settings {params.settings:q} --seed {params.seed} --out {output.model} 2> {log}"


rule train_preference_model:
    input:
        pairs=rules.prepare_data.output.pairs,
        labels=rules.prepare_data.output.labels,
        demonstrations=rules.prepare_data.output.demonstrations,
        tokenizer=rules.prepare_data.output.tokenizer,
        reference=rules.train_reference.output.model,
    output:
        model=directory(f"{MODELS}/{{model}}"),
    log:
        "logs/{task}/train_{model}.log",
    conda:
        "../../envs/gpu.yaml"
    params:
        settings=lambda w: settings_json(getattr(CONFIG.tasks[TASKS[w.task]], w.model)),
        split=lambda w: w.model.removesuffix("_model"),
        seed=lambda w: CONFIG.tasks[TASKS[w.task]].seed,
        code=code_hash("scripts/train_preference_model.py"),
    shell:
        "python scripts/train_preference_model.py {input.pairs} --labels {input.labels}"
        " --split {params.split} --demonstrations {input.demonstrations} --tokenizer {input.tokenizer}"
        " --reference {input.reference} --settings {params.settings:q} --seed {params.seed}"
        " --out {output.model} 2> {log}"
