"""The figures, each from the run's tables alone."""

WIN_RATE_TABLES = [f"{RUN}/{name}.parquet" for name in ("metrics", "offline", "ideal")]
SEVERAL = any(len(conditions(task)) > 1 for task in CONFIG.tasks.values())
GOLD = any(task.corpus.source == "embedded" for task in CONFIG.tasks.values())
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
    "methods": [f"{RUN}/{name}.parquet" for name in ("metrics", "ideal")],
    "matched_kl": [f"{RUN}/methods.parquet"],
    "overview": [f"{RUN}/metrics.parquet"],
    **({"gold": [f"{RUN}/gold.parquet"]} if GOLD else {}),
    **({"temperatures": [f"{RUN}/{name}.parquet" for name in ("metrics", "best_of_n")]} if SEVERAL else {}),
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
