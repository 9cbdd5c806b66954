"""How well few rollouts estimate the reward's distribution: many more of them for one task's evaluation prompts."""

ESTIMATION_TABLES = {name: f"{RUN}/{name}.parquet" for name in ("estimation", "log_distribution")}

if CONFIG.estimation:
    ESTIMATED = CONFIG.tasks[CONFIG.estimation.task]
    ESTIMATED_AT = f"{SHARED}/{FOLDER_OF[CONFIG.estimation.task]}"

    rule sample_estimation:
        input:
            model=f"{ESTIMATED_AT}/models/reference",
            prompts=f"{ESTIMATED_AT}/data/prompts.parquet",
        output:
            f"{RUN}/estimation/samples.parquet",
        log:
            f"logs/{CONFIG.run}/sample_estimation.log",
        conda:
            "../../envs/gpu.yaml"
        params:
            settings=settings_json(estimation_sampling(ESTIMATED, CONFIG.estimation)),
            n_prompts=f"--n-prompts {CONFIG.estimation.n_prompts}" if CONFIG.estimation.n_prompts else "",
            seed=ESTIMATED.seed + 2,  # neither that of the rollouts nor that of the policies' samples
            code=code_hash("scripts/sample.py"),
        shell:
            "python scripts/sample.py {input.model} {input.prompts} --split evaluation {params.n_prompts}"
            " --settings {params.settings:q} --seed {params.seed} --out {output} 2> {log}"

    rule score_estimation:
        input:
            responses=rules.sample_estimation.output,
            prompts=f"{ESTIMATED_AT}/data/prompts.parquet",
            reward=f"{ESTIMATED_AT}/models/reward_model",
            judge=f"{ESTIMATED_AT}/models/judge",
        output:
            f"{RUN}/estimation/scores.parquet",
        log:
            f"logs/{CONFIG.run}/score_estimation.log",
        conda:
            "../../envs/gpu.yaml"
        params:
            corpus=lambda w: settings_json(ESTIMATED.corpus),
            engine=lambda w: engine_option(ESTIMATED),
            code=code_hash("scripts/score.py"),
        shell:
            "python scripts/score.py {input.responses} {input.prompts} --reward-model {input.reward}"
            " --judge {input.judge} --corpus {params.corpus:q} {params.engine} --out {output} 2> {log}"

    rule estimation_error:
        input:
            rules.score_estimation.output,
        output:
            **ESTIMATION_TABLES,
        log:
            f"logs/{CONFIG.run}/estimation_error.log",
        conda:
            "../../envs/cpu.yaml"
        params:
            settings=settings_json(CONFIG.estimation),
            code=code_hash("scripts/estimation_error.py"),
        shell:
            "python scripts/estimation_error.py {input} --settings {params.settings:q}"
            " --out {output.estimation} --log-distribution {output.log_distribution} 2> {log}"
