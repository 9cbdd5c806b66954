"""Hedging against reward hacking. The core's rules sample and score the pools, and train the proxies."""

from infalign.studies.hedging.study import STUDY as HEDGING


rule hedge_pools:
    input:
        config=rules.record_config.output,
        scores=results(*HEDGING.scores(CONFIG.hedging, CONFIG)),
    output:
        hacking=f"{RUN}/hacking.parquet",
        hedges=f"{RUN}/hedges.parquet",
        prompt_hedges=f"{RUN}/prompt_hedges.parquet",
    log:
        f"logs/{CONFIG.run}/hedge_pools.log",
    params:
        tasks=SHARED,
        code=code("hedge_pools.py"),
    shell:
        "python {SCRIPTS:q}/hedge_pools.py {input.config:q} --tasks {params.tasks:q} --hacking {output.hacking:q}"
        " --hedges {output.hedges:q} --by-prompt {output.prompt_hedges:q} 2> {log:q}"


rule hedging_theory:
    output:
        regimes=f"{RUN}/regimes.parquet",
        extrema=f"{RUN}/extrema.parquet",
        poisson_tilt=f"{RUN}/poisson_tilt.parquet",
    log:
        f"logs/{CONFIG.run}/hedging_theory.log",
    params:
        code=code("hedging_theory.py"),
    shell:
        "python {SCRIPTS:q}/hedging_theory.py --regimes {output.regimes:q} --extrema {output.extrema:q}"
        " --poisson-tilt {output.poisson_tilt:q} 2> {log:q}"
