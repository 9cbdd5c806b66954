"""The main comparison from several seeds of training."""


rule compare_seeds:
    input:
        config=rules.record_config.output,
        metrics=rules.evaluate.output.metrics,
        prompts=rules.evaluate.output.prompts,
    output:
        f"{RUN}/seeds.parquet",
    log:
        f"logs/{CONFIG.run}/compare_seeds.log",
    params:
        run=RUN,
        code=code("compare_seeds.py"),
    shell:
        "python {SCRIPTS:q}/compare_seeds.py {params.run:q} 2> {log:q}"
