"""The figures, each from the run's tables alone."""

FIGURE_FILES = expand(f"{RUN}/figures/{{figure}}.{{format}}", figure=FIGURES, format=["svg", "png"])


def drawing_code(figure):
    """Hash of the script and of what draws this figure, so that an edit draws no others again."""
    return code_hash(f"{SCRIPTS}/draw_figure.py", module_file(FIGURES[figure].draw.partition(":")[0]))


rule draw_figure:
    input:
        config=rules.record_config.output,
        tables=lambda w: [f"{RUN}/{table}.parquet" for table in FIGURES[w.figure].tables],
        shared=lambda w: [f"results/{path}" for path in FIGURES[w.figure].shared],
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
    params:
        draw=lambda w: FIGURES[w.figure].draw,
        options=lambda w: json.dumps(dict(FIGURES[w.figure].options)),
        caption=lambda w: FIGURES[w.figure].caption,
        run=RUN,
        tasks=SHARED,
        code=lambda w: drawing_code(w.figure),
    shell:
        "python {SCRIPTS:q}/draw_figure.py {wildcards.figure:q} --draw {params.draw:q}"
        " --options {params.options:q} --run {params.run:q} --tasks {params.tasks:q} 2> {log:q}"
