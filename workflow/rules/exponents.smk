"""Win rate over the exponent of exponential transforms; no model is loaded."""

EXPONENT_TABLES = {name: f"{RUN}/{name}.parquet" for name in ("exponents", "best_exponents")}

if CONFIG.exponents:

    rule exponents:
        input:
            config=rules.record_config.output,
            metrics=rules.evaluate.output.metrics,
            prompts=rules.evaluate.output.prompts,
            scores=[main_scores(name) for name in CONFIG.tasks],
        output:
            **EXPONENT_TABLES,
        log:
            f"logs/{CONFIG.run}/exponents.log",
        conda:
            "../../envs/cpu.yaml"
        params:
            run=RUN,
            tasks=SHARED,
            code=code_hash("scripts/exponents.py"),
        shell:
            "python scripts/exponents.py {params.run} --tasks {params.tasks} 2> {log}"
