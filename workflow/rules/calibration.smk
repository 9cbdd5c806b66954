"""Calibration from few rollouts and with few anchors: further responses of the reference, on which it is measured."""

CALIBRATION_TABLES = {
    name: f"{RUN}/{name}.parquet"
    for name in (
        "calibration_error",
        "prompt_calibration_error",
        "calibration_frontier",
        "prompt_calibration_frontier",
    )
}

if CONFIG.calibration:

    def measured_task(w):
        return CONFIG.tasks[w.name]

    def of_measured_task(path):
        """Input function: a shared file of the task."""
        return lambda w: f"{SHARED}/{FOLDER_OF[w.name]}/{path}"

    rule sample_calibration:
        input:
            model=of_measured_task("models/reference"),
            prompts=of_measured_task("data/prompts.parquet"),
        output:
            f"{RUN}/calibration/{{name}}/samples.parquet",
        log:
            f"logs/{CONFIG.run}/sample_calibration_{{name}}.log",
        conda:
            "../../envs/gpu.yaml"
        params:
            split=lambda w: conditions(measured_task(w))[0].split,
            settings=lambda w: settings_json(calibration_sampling(measured_task(w), CONFIG.calibration)),
            seed=lambda w: measured_task(w).seed + 5,  # that of no other set of responses
            code=code_hash("scripts/sample.py"),
        shell:
            "python scripts/sample.py {input.model} {input.prompts} --split {params.split}"
            " --settings {params.settings:q} --seed {params.seed} --out {output} 2> {log}"

    rule score_calibration:
        input:
            responses=rules.sample_calibration.output,
            prompts=of_measured_task("data/prompts.parquet"),
            reward=of_measured_task("models/reward_model"),
            judge=of_measured_task("models/judge"),
        output:
            f"{RUN}/calibration/{{name}}/scores.parquet",
        log:
            f"logs/{CONFIG.run}/score_calibration_{{name}}.log",
        conda:
            "../../envs/gpu.yaml"
        params:
            corpus=lambda w: settings_json(measured_task(w).corpus),
            engine=lambda w: engine_option(measured_task(w)),
            code=code_hash("scripts/score.py"),
        shell:
            "python scripts/score.py {input.responses} {input.prompts} --reward-model {input.reward}"
            " --judge {input.judge} --corpus {params.corpus:q} {params.engine} --out {output} 2> {log}"

    rule calibration_quality:
        input:
            config=rules.record_config.output,
            scores=lambda w: main_scores(w.name),
            measured=rules.score_calibration.output,
        output:
            [f"{RUN}/calibration/{{name}}/{table}.parquet" for table in CALIBRATION_TABLES],
        log:
            f"logs/{CONFIG.run}/calibration_quality_{{name}}.log",
        conda:
            "../../envs/cpu.yaml"
        params:
            out=f"{RUN}/calibration/{{name}}",
            code=code_hash("scripts/calibration_quality.py"),
        shell:
            "python scripts/calibration_quality.py {input.config} {input.scores} {input.measured}"
            " --task {wildcards.name} --out {params.out} 2> {log}"

    rule collect_calibration:
        input:
            expand(f"{RUN}/calibration/{{name}}/{{{{table}}}}.parquet", name=CONFIG.tasks),
        output:
            f"{RUN}/{{table}}.parquet",
        log:
            f"logs/{CONFIG.run}/collect_{{table}}.log",
        wildcard_constraints:
            table="|".join(CALIBRATION_TABLES),
        conda:
            "../../envs/cpu.yaml"
        params:
            code=code_hash("scripts/collect.py"),
        shell:
            "python scripts/collect.py {input} --out {output} 2> {log}"

    rule calibration_costs:
        input:
            config=rules.record_config.output,
            seconds=expand(
                f"{SHARED}/{{task}}/{{part}}/train.seconds.tsv", task=TASKS, part=["rollouts", "scores"]
            ),
            training=expand(f"{SHARED}/{{at}}/training.parquet", at=POLICY_AT),
        output:
            table=f"{RUN}/calibration_costs.parquet",
            html=report(
                f"{RUN}/calibration_costs.html",
                caption="../report/calibration_costs.rst",
                category="Calibration",
            ),
        log:
            f"logs/{CONFIG.run}/calibration_costs.log",
        conda:
            "../../envs/cpu.yaml"
        params:
            run=RUN,
            tasks=SHARED,
            code=code_hash("scripts/calibration_costs.py"),
        shell:
            "python scripts/calibration_costs.py {params.run} --tasks {params.tasks} 2> {log}"
