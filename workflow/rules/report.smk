"""Claims with their verdicts, the tables a reader sees, and one offline HTML report."""


rule judge_claims:
    input:
        config=rules.record_config.output,
        claims=f"{PROJECT}reports/claims.yaml",
        tables=[f"{RUN}/{table}.parquet" for table in claim_tables(CONFIG)],
        training=expand(f"{SHARED}/{{policy}}/training.parquet", policy=POLICY_OF),
        scores=expand(f"{SHARED}/{{folder}}/scores/train.parquet", folder=TASK_OF),
    output:
        claims=f"{RUN}/claims.parquet",
        costs=f"{RUN}/cost_claims.parquet",
        gold=f"{RUN}/gold.parquet",
        html=report(f"{RUN}/claims.html", caption="../report/claims.rst", category="Claims"),
        metrics=report(f"{RUN}/metrics.html", caption="../report/metrics.rst", category="Metrics"),
    log:
        f"logs/{CONFIG.run}/judge_claims.log",
    params:
        run=RUN,
        tasks=SHARED,
        code=code("judge_claims.py"),
    shell:
        "python {SCRIPTS:q}/judge_claims.py {input.claims:q} --run {params.run:q} --tasks {params.tasks:q} 2> {log:q}"


rule compare_methods:
    input:
        config=rules.record_config.output,
        metrics=rules.evaluate.output.metrics,
        prompts=rules.evaluate.output.prompts,
    output:
        table=f"{RUN}/methods.parquet",
        html=report(f"{RUN}/methods.html", caption="../report/methods.rst", category="Methods"),
    log:
        f"logs/{CONFIG.run}/compare_methods.log",
    params:
        run=RUN,
        code=code("compare_methods.py"),
    shell:
        "python {SCRIPTS:q}/compare_methods.py {params.run:q} 2> {log:q}"


rule collect_examples:
    input:
        config=rules.record_config.output,
        policies=POLICY_SCORES,
        references=REFERENCE_SCORES,
        prompts=expand(f"{SHARED}/{{folder}}/data/prompts.parquet", folder=TASK_OF),
    output:
        table=f"{RUN}/examples.parquet",
        html=report(f"{RUN}/examples.html", caption="../report/examples.rst", category="Examples"),
    log:
        f"logs/{CONFIG.run}/collect_examples.log",
    params:
        run=RUN,
        tasks=SHARED,
        code=code("collect_examples.py"),
    shell:
        "python {SCRIPTS:q}/collect_examples.py {params.run:q} --tasks {params.tasks:q} 2> {log:q}"


rule claims:
    input:
        rules.judge_claims.output,
        rules.collect_examples.output,
        PAGES,


# A rule instead of --report-after-run: the path has the run's name, which no profile knows.
rule report:
    input:
        figures=FIGURE_FILES,
        pages=PAGES,
        claims=rules.judge_claims.output,
        methods=rules.compare_methods.output,
        examples=rules.collect_examples.output,
        config=rules.record_config.output,
    output:
        f"{RUN}/report.html",
    log:
        f"logs/{CONFIG.run}/report.log",
    params:
        snakefile=f"{PROJECT}Snakefile",
    shell:
        "snakemake figures claims --snakefile {params.snakefile:q} --configfile {input.config:q} --cores 1"
        " --nolock --report {output:q} > {log:q} 2>&1"
