"""Win rates, divergences and their intervals. One job measures all policies, since it is cheap."""

REFERENCE_SCORES = [
    f"{SHARED}/{folder}/scores/{condition.name}.parquet"
    for folder, task in TASK_OF.items()
    for condition in conditions(CONFIG.tasks[task])
]
POLICY_SCORES = [
    f"{SHARED}/{folder}/scores/{name}.parquet"
    for folder, policy in POLICY_OF.items()
    for name in sampled_sets(CONFIG, policy)
]


rule evaluate:
    input:
        policies=POLICY_SCORES,
        references=REFERENCE_SCORES,
        config=rules.record_config.output,
        offline=rules.collect_offline.output,
    output:
        metrics=f"{RUN}/metrics.parquet",
        prompts=f"{RUN}/prompt_metrics.parquet",
    log:
        f"logs/{CONFIG.run}/evaluate.log",
    params:
        tasks=SHARED,
        code=code("evaluate.py"),
    shell:
        "python {SCRIPTS:q}/evaluate.py {input.config:q} --offline {input.offline:q} --tasks {params.tasks:q}"
        " --out {output.metrics:q} --prompts-out {output.prompts:q} 2> {log:q}"


rule evaluate_best_of_n:
    input:
        references=REFERENCE_SCORES,
        config=rules.record_config.output,
    output:
        f"{RUN}/best_of_n.parquet",
    log:
        f"logs/{CONFIG.run}/evaluate_best_of_n.log",
    params:
        tasks=SHARED,
        code=code("evaluate_best_of_n.py"),
    shell:
        "python {SCRIPTS:q}/evaluate_best_of_n.py {input.config:q} --tasks {params.tasks:q}"
        " --out {output:q} 2> {log:q}"
