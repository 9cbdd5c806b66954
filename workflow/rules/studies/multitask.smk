"""Theory of the regulariser: the multi-task theorem and the change of variables."""


rule multitask:
    output:
        multitask=f"{RUN}/multitask.parquet",
        change=f"{RUN}/change_of_variables.parquet",
    log:
        f"logs/{CONFIG.run}/multitask.log",
    params:
        code=code("multitask.py"),
    shell:
        "python {SCRIPTS:q}/multitask.py --out {output.multitask:q} --change-of-variables {output.change:q} 2> {log:q}"
