"""The main comparison at several sampling temperatures."""


rule compare_temperatures:
    input:
        config=rules.record_config.output,
        metrics=rules.evaluate.output.metrics,
        prompts=rules.evaluate.output.prompts,
    output:
        f"{RUN}/temperature_leads.parquet",
    log:
        f"logs/{CONFIG.run}/compare_temperatures.log",
    params:
        run=RUN,
        code=code("compare_temperatures.py"),
    shell:
        "python {SCRIPTS:q}/compare_temperatures.py {params.run:q} 2> {log:q}"
