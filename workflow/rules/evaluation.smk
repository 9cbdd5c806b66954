"""Win rates, divergences and their intervals, of all policies at once: cheap, so one job."""


rule evaluate:
    input:
        policies=expand("{folder}/{at}/scores.parquet", folder=SHARED, at=POLICY_AT),
        references=expand("{folder}/{task}/scores/evaluation.parquet", folder=SHARED, task=TASKS),
        config=rules.record_config.output,
        offline=rules.collect_offline.output,
    output:
        metrics=f"{RUN}/metrics.parquet",
        prompts=f"{RUN}/prompt_metrics.parquet",
    log:
        f"logs/{CONFIG.run}/evaluate.log",
    conda:
        "../../envs/cpu.yaml"
    params:
        tasks=SHARED,
        code=code_hash("scripts/evaluate.py"),
    shell:
        "python scripts/evaluate.py {input.config} --offline {input.offline} --tasks {params.tasks}"
        " --out {output.metrics} --prompts-out {output.prompts} 2> {log}"


rule evaluate_best_of_n:
    input:
        references=expand("{folder}/{task}/scores/evaluation.parquet", folder=SHARED, task=TASKS),
        config=rules.record_config.output,
    output:
        f"{RUN}/best_of_n.parquet",
    log:
        f"logs/{CONFIG.run}/evaluate_best_of_n.log",
    conda:
        "../../envs/cpu.yaml"
    params:
        tasks=SHARED,
        code=code_hash("scripts/evaluate_best_of_n.py"),
    shell:
        "python scripts/evaluate_best_of_n.py {input.config} --tasks {params.tasks} --out {output} 2> {log}"
