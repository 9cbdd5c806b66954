"""The lower bound of variational best-of-N, for listed distributions."""


rule best_of_n_bounds:
    output:
        f"{RUN}/bounds.parquet",
    log:
        f"logs/{CONFIG.run}/best_of_n_bounds.log",
    params:
        code=code("best_of_n_bounds.py"),
    shell:
        "python {SCRIPTS:q}/best_of_n_bounds.py --out {output:q} 2> {log:q}"
