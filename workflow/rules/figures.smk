"""The figures, each from the run's tables alone."""

WIN_RATE_TABLES = [f"{RUN}/{name}.parquet" for name in ("metrics", "offline", "ideal")]
SEVERAL = any(len(conditions(task)) > 1 for task in CONFIG.tasks.values())
FRONT_TABLES = [f"{RUN}/{name}.parquet" for name in ("metrics", "best_of_n")]
METHODS_OF = {name: {policy.method for policy in POLICIES if policy.task == name} for name in FOLDER_OF}


def forms_of(task):
    """Objectives of vBoN that a task's policies have: exact, bound."""
    settings = [CONFIG.methods[method] for method in METHODS_OF[task]]
    return {block.objective for block in settings if block.kind == "vbon"}


GOLD = any(task.corpus.source in GOLD_SOURCES for task in CONFIG.tasks.values())
FIGURE_TABLES = {
    "transforms": [f"{RUN}/ideal.parquet"],
    **{
        f"calibration_{name}": [f"{SHARED}/{folder}/scores/train.parquet"]
        for name, folder in FOLDER_OF.items()
    },
    "standard": WIN_RATE_TABLES,  # nothing is selected, so there is no version by the judge
    **{
        kind + suffix: WIN_RATE_TABLES
        for kind in ("inference_time", "scaling")
        for suffix in ("", "_by_judge")
    },
    **({name: [HEDGING_TABLES[name]] for name in ("regimes", "poisson_tilt")} if CONFIG.hedging else {}),
    **{
        f"{kind}_{pool.task}": [HEDGING_TABLES[name] for name in ("hacking", "hedges")]
        for pool in CONFIG.hedging
        for kind in ("hacking", "tradeoff")
    },
    "methods": [f"{RUN}/{name}.parquet" for name in ("metrics", "ideal")],
    "matched_kl": [f"{RUN}/methods.parquet"],
    "overview": [f"{RUN}/metrics.parquet"],
    **({"gold": [f"{RUN}/gold.parquet"]} if GOLD else {}),
    **({"temperatures": [f"{RUN}/{name}.parquet" for name in ("metrics", "best_of_n")]} if SEVERAL else {}),
    **{f"front_{name}": FRONT_TABLES for name, methods in METHODS_OF.items() if len(methods) > 1},
    **{f"bound_{name}": FRONT_TABLES for name in FOLDER_OF if len(forms_of(name)) > 1},
    **{
        f"cost_{name}": [
            f"{RUN}/metrics.parquet",
            *(f"{SHARED}/{folder}/{part}/train.seconds.tsv" for part in ("rollouts", "scores")),
        ]
        for name, folder in FOLDER_OF.items()
        if with_varied_rollouts(POLICIES, name)
    },
    **({name: [table] for name, table in ESTIMATION_TABLES.items()} if CONFIG.estimation else {}),
    **({"poisoning": [POISONING_TABLES["poisoning"]]} if CONFIG.poisoning else {}),
    **(
        {
            "language_model_judge": [
                *(f"{RUN}/{name}.parquet" for name in ("metrics", "ideal")),
                JUDGING_TABLES["verdicts"],
            ],
            "judge_agreement": [JUDGING_TABLES["agreement"]],
        }
        if CONFIG.judge
        else {}
    ),
    **({"exponents": list(EXPONENT_TABLES.values())} if CONFIG.exponents else {}),
    **(
        {"seeds": [f"{RUN}/seeds.parquet"]}
        if any(several_seeds(POLICIES, name) for name in FOLDER_OF)
        else {}
    ),
    **(
        {"temperature_leads": [f"{RUN}/temperature_leads.parquet"]}
        if any(several_temperatures(CONFIG, POLICIES, name) for name in FOLDER_OF)
        else {}
    ),
    **(
        {"judge_strength": [STRENGTH_TABLES[name] for name in ("judge_strength", "judge_policies")]}
        if CONFIG.judge_strength
        else {}
    ),
    **(
        {
            f"calibration_{kind}_{name}": [*CALIBRATION_TABLES.values(), f"{RUN}/metrics.parquet"]
            for kind in ("rollouts", "anchors")
            for name in FOLDER_OF
        }
        if CONFIG.calibration
        else {}
    ),
    **({"kl_estimators": [KL_ESTIMATORS]} if CONFIG.kl_estimators else {}),
}
FIGURES = expand(f"{RUN}/figures/{{figure}}.{{format}}", figure=FIGURE_TABLES, format=["svg", "png"])


rule draw_figure:
    input:
        config=rules.record_config.output,
        tables=lambda w: FIGURE_TABLES[w.figure],
    output:
        svg=report(
            f"{RUN}/figures/{{figure}}.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        png=f"{RUN}/figures/{{figure}}.png",
    log:
        f"logs/{CONFIG.run}/figure_{{figure}}.log",
    wildcard_constraints:
        figure="|".join(FIGURE_TABLES),
    conda:
        "../../envs/cpu.yaml"
    params:
        run=RUN,
        tasks=SHARED,
        code=code_hash("scripts/draw_figure.py"),
    shell:
        "python scripts/draw_figure.py {wildcards.figure} --run {params.run} --tasks {params.tasks} 2> {log}"
