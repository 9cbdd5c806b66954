"""Win rates, divergences and their intervals, of all policies at once: cheap, so one job."""

REFERENCE_SCORES = [
    f"{SHARED}/{folder}/scores/{condition.name}.parquet"
    for folder, name in TASKS.items()
    for condition in conditions(CONFIG.tasks[name])
]
POLICY_SCORES = [
    f"{SHARED}/{at}/scores/{name}.parquet"
    for at, policy in POLICY_AT.items()
    for name in sampled_sets(CONFIG, policy)
]


rule evaluate:
    input:
        policies=POLICY_SCORES,
        references=REFERENCE_SCORES,
        config=rules.record_config.output,
        offline=rules.collect_offline.output,
        judgements=JUDGEMENTS if CONFIG.judge else [],
    output:
        metrics=f"{RUN}/metrics.parquet",
        prompts=f"{RUN}/prompt_metrics.parquet",
    log:
        f"logs/{CONFIG.run}/evaluate.log",
    conda:
        "../../envs/cpu.yaml"
    params:
        tasks=SHARED,
        judgements=f"--judgements {JUDGEMENTS}" if CONFIG.judge else "",
        code=code_hash("scripts/evaluate.py"),
    shell:
        "python scripts/evaluate.py {input.config} --offline {input.offline} --tasks {params.tasks}"
        " {params.judgements} --out {output.metrics} --prompts-out {output.prompts} 2> {log}"


rule evaluate_best_of_n:
    input:
        references=REFERENCE_SCORES,
        config=rules.record_config.output,
    output:
        f"{RUN}/best_of_n.parquet",
    log:
        f"logs/{CONFIG.run}/evaluate_best_of_n.log",
    conda:
        "../../envs/cpu.yaml"
    params:
        tasks=SHARED,
        code=code_hash("scripts/evaluate_best_of_n.py"),
    shell:
        "python scripts/evaluate_best_of_n.py {input.config} --tasks {params.tasks} --out {output} 2> {log}"


rule compare_seeds:
    input:
        config=rules.record_config.output,
        metrics=rules.evaluate.output.metrics,
        prompts=rules.evaluate.output.prompts,
    output:
        f"{RUN}/seeds.parquet",
    log:
        f"logs/{CONFIG.run}/compare_seeds.log",
    conda:
        "../../envs/cpu.yaml"
    params:
        run=RUN,
        code=code_hash("scripts/compare_seeds.py"),
    shell:
        "python scripts/compare_seeds.py {params.run} 2> {log}"


rule compare_temperatures:
    input:
        config=rules.record_config.output,
        metrics=rules.evaluate.output.metrics,
        prompts=rules.evaluate.output.prompts,
    output:
        f"{RUN}/temperature_leads.parquet",
    log:
        f"logs/{CONFIG.run}/compare_temperatures.log",
    conda:
        "../../envs/cpu.yaml"
    params:
        run=RUN,
        code=code_hash("scripts/compare_temperatures.py"),
    shell:
        "python scripts/compare_temperatures.py {params.run} 2> {log}"


KL_ESTIMATORS = f"{RUN}/kl_estimators.parquet"


rule compare_kl_estimators:
    input:
        config=rules.record_config.output,
        policies=[
            f"{SHARED}/{at}/scores/{next(iter(POLICY_SETS[at.split('/')[0]]))}.parquet" for at in POLICY_AT
        ],
    output:
        KL_ESTIMATORS,
    log:
        f"logs/{CONFIG.run}/compare_kl_estimators.log",
    conda:
        "../../envs/cpu.yaml"
    params:
        tasks=SHARED,
        code=code_hash("scripts/compare_kl_estimators.py"),
    shell:
        "python scripts/compare_kl_estimators.py {input.config} --tasks {params.tasks} --out {output} 2> {log}"
