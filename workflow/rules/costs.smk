"""What the run would cost, from its configuration alone."""


rule estimate_costs:
    input:
        config=rules.record_config.output,
    output:
        table=f"{RUN}/costs.parquet",
        text=f"{RUN}/costs.txt",
    log:
        f"logs/{CONFIG.run}/estimate_costs.log",
    conda:
        "../../envs/cpu.yaml"
    params:
        costs=settings_json(COSTS),
        code=code_hash("scripts/estimate_costs.py"),
    shell:
        "python scripts/estimate_costs.py {input.config} --costs {params.costs:q} --out {output.table}"
        " --text {output.text} 2> {log}"


rule costs:
    input:
        rules.estimate_costs.output.text,
    log:
        f"logs/{CONFIG.run}/costs.log",
    conda:
        "../../envs/cpu.yaml"
    shell:
        "cat {input} 2> {log}"
