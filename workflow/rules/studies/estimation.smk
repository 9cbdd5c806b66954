"""How well few rollouts estimate the reward's distribution."""


rule estimation_error:
    input:
        f"{RUN}/estimation/scores.parquet",
    output:
        estimation=f"{RUN}/estimation.parquet",
        log_distribution=f"{RUN}/log_distribution.parquet",
    log:
        f"logs/{CONFIG.run}/estimation_error.log",
    params:
        settings=settings_json(CONFIG.estimation),
        code=code("estimation_error.py"),
    shell:
        "python {SCRIPTS:q}/estimation_error.py {input:q} --settings {params.settings:q}"
        " --out {output.estimation:q} --log-distribution {output.log_distribution:q} 2> {log:q}"
