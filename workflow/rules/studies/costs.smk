"""What the run would cost, from its configuration alone."""


rule estimate_costs:
    input:
        config=rules.record_config.output,
    output:
        table=f"{RUN}/costs.parquet",
        text=f"{RUN}/costs.txt",
    log:
        f"logs/{CONFIG.run}/estimate_costs.log",
    params:
        costs=settings_json(CONFIG.costs),
        code=code("estimate_costs.py"),
    shell:
        "python {SCRIPTS:q}/estimate_costs.py {input.config:q} --costs {params.costs:q} --out {output.table:q}"
        " --text {output.text:q} 2> {log:q}"


rule costs:
    input:
        rules.estimate_costs.output.text,
    shell:
        "cat {input:q}"


localrules:
    costs,
