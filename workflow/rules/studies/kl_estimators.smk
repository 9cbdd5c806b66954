"""Three estimates of each policy's KL from the same responses."""


rule compare_kl_estimators:
    input:
        config=rules.record_config.output,
        policies=results(*(policy_scores(CONFIG, policy) for policy in POLICIES)),
    output:
        f"{RUN}/kl_estimators.parquet",
    log:
        f"logs/{CONFIG.run}/compare_kl_estimators.log",
    params:
        tasks=SHARED,
        code=code("compare_kl_estimators.py"),
    shell:
        "python {SCRIPTS:q}/compare_kl_estimators.py {input.config:q} --tasks {params.tasks:q}"
        " --out {output:q} 2> {log:q}"
