"""Win rate over the exponent of exponential transforms; no model is loaded."""


rule exponents:
    input:
        config=rules.record_config.output,
        metrics=rules.evaluate.output.metrics,
        prompts=rules.evaluate.output.prompts,
        scores=results(*(main_scores(CONFIG, task) for task in CONFIG.tasks)),
    output:
        f"{RUN}/exponents.parquet",
        f"{RUN}/best_exponents.parquet",
    log:
        f"logs/{CONFIG.run}/exponents.log",
    params:
        run=RUN,
        tasks=SHARED,
        code=code("exponents.py"),
    shell:
        "python {SCRIPTS:q}/exponents.py {params.run:q} --tasks {params.tasks:q} 2> {log:q}"
