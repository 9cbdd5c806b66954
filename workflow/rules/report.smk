"""Claims with their verdicts, the tables a reader sees, and one offline HTML report."""


rule judge_claims:
    input:
        config=rules.record_config.output,
        claims="reports/claims.yaml",
        ideal=rules.ideal_frontier.output,
        offline=rules.collect_offline.output,
        metrics=rules.evaluate.output.metrics,
        prompts=rules.evaluate.output.prompts,
        hedging=list(HEDGING_TABLES.values()) if CONFIG.hedging else [],
        best_of_n=rules.evaluate_best_of_n.output,
        bounds=rules.best_of_n_bounds.output,
        multitask=rules.multitask.output,
        estimation=ESTIMATION_TABLES["estimation"] if CONFIG.estimation else [],
        poisoning=POISONING_TABLES["prompt_poisoning"] if CONFIG.poisoning else [],
        agreement=JUDGING_TABLES["agreement"] if CONFIG.judge else [],
        judges=STRENGTH_TABLES["prompt_judges"] if CONFIG.judge_strength else [],
        exponents=EXPONENT_TABLES["best_exponents"] if CONFIG.exponents else [],
        calibration=list(CALIBRATION_TABLES.values()) if CONFIG.calibration else [],
        training=expand(f"{SHARED}/{{at}}/training.parquet", at=POLICY_AT),
        scores=expand(f"{SHARED}/{{task}}/scores/train.parquet", task=TASKS),
    output:
        claims=f"{RUN}/claims.parquet",
        costs=f"{RUN}/cost_claims.parquet",
        gold=f"{RUN}/gold.parquet",
        html=report(f"{RUN}/claims.html", caption="../report/claims.rst", category="Claims"),
        metrics=report(f"{RUN}/metrics.html", caption="../report/metrics.rst", category="Metrics"),
    log:
        f"logs/{CONFIG.run}/judge_claims.log",
    conda:
        "../../envs/cpu.yaml"
    params:
        run=RUN,
        tasks=SHARED,
        code=code_hash("scripts/judge_claims.py"),
    shell:
        "python scripts/judge_claims.py {input.claims} --run {params.run} --tasks {params.tasks} 2> {log}"


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
    conda:
        "../../envs/cpu.yaml"
    params:
        run=RUN,
        code=code_hash("scripts/compare_methods.py"),
    shell:
        "python scripts/compare_methods.py {params.run} 2> {log}"


rule collect_examples:
    input:
        config=rules.record_config.output,
        policies=POLICY_SCORES,
        references=REFERENCE_SCORES,
        prompts=expand(f"{SHARED}/{{task}}/data/prompts.parquet", task=TASKS),
    output:
        table=f"{RUN}/examples.parquet",
        html=report(f"{RUN}/examples.html", caption="../report/examples.rst", category="Examples"),
    log:
        f"logs/{CONFIG.run}/collect_examples.log",
    conda:
        "../../envs/cpu.yaml"
    params:
        run=RUN,
        tasks=SHARED,
        code=code_hash("scripts/collect_examples.py"),
    shell:
        "python scripts/collect_examples.py {params.run} --tasks {params.tasks} 2> {log}"


rule report:
    input:
        figures=FIGURES,
        costs=rules.calibration_costs.output if CONFIG.calibration else [],
        verdicts=rules.judge_agreement.output if CONFIG.judge else [],
        claims=rules.judge_claims.output,
        examples=rules.collect_examples.output,
        config=rules.record_config.output,
    output:
        f"{RUN}/report.html",
    log:
        f"logs/{CONFIG.run}/report.log",
    conda:
        "../../envs/cpu.yaml"
    shell:
        "snakemake figures claims --configfile {input.config} --cores 1 --nolock --report {output} > {log} 2>&1"
