"""Calibration from few rollouts and with few anchors, and what rollouts cost."""

CALIBRATION_TABLES = [
    "calibration_error",
    "prompt_calibration_error",
    "calibration_frontier",
    "prompt_calibration_frontier",
]


rule calibration_quality:
    input:
        config=rules.record_config.output,
        scores=lambda w: results(main_scores(CONFIG, w.task)),
        measured=f"{RUN}/calibration/{{task}}/scores.parquet",
    output:
        [f"{RUN}/calibration/{{task}}/{table}.parquet" for table in CALIBRATION_TABLES],
    log:
        f"logs/{CONFIG.run}/calibration_quality_{{task}}.log",
    params:
        out=lambda w: f"{RUN}/calibration/{w.task}",
        code=code("calibration_quality.py"),
    shell:
        "python {SCRIPTS:q}/calibration_quality.py {input.config:q} {input.scores:q} {input.measured:q}"
        " --task {wildcards.task:q} --out {params.out:q} 2> {log:q}"


rule collect_calibration:
    input:
        expand(f"{RUN}/calibration/{{task}}/{{{{table}}}}.parquet", task=CONFIG.tasks),
    output:
        f"{RUN}/{{table}}.parquet",
    log:
        f"logs/{CONFIG.run}/collect_{{table}}.log",
    wildcard_constraints:
        table="|".join(CALIBRATION_TABLES),
    params:
        code=code("collect.py"),
    shell:
        "python {SCRIPTS:q}/collect.py {input:q} --out {output:q} 2> {log:q}"


rule calibration_costs:
    input:
        config=rules.record_config.output,
        seconds=expand(f"{SHARED}/{{folder}}/{{part}}/train.seconds.tsv", folder=TASK_OF, part=["rollouts", "scores"]),
        training=expand(f"{SHARED}/{{policy}}/training.parquet", policy=POLICY_OF),
    output:
        table=f"{RUN}/calibration_costs.parquet",
        html=report(
            f"{RUN}/calibration_costs.html",
            caption="../../report/calibration_costs.rst",
            category="Calibration",
        ),
    log:
        f"logs/{CONFIG.run}/calibration_costs.log",
    params:
        run=RUN,
        tasks=SHARED,
        code=code("calibration_costs.py"),
    shell:
        "python {SCRIPTS:q}/calibration_costs.py {params.run:q} --tasks {params.tasks:q} 2> {log:q}"


PAGES.extend(rules.calibration_costs.output)
