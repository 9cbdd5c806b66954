"""Frontiers before any training: the ideal one, and the offline tilt of the scored reference rollouts."""


rule record_config:
    output:
        f"{RUN}/config.json",
    log:
        f"logs/{CONFIG.run}/record_config.log",
    params:
        config=lambda w: recorded_json(CONFIG),  # a function, since texts in it may hold braces
        code=code("record_config.py"),
    shell:
        "python {SCRIPTS:q}/record_config.py {params.config:q} --out {output:q} 2> {log:q}"


# Frontiers depend on these blocks alone. So another policy or task computes none of them again.
FRONTIERS = {"theory": settings_json(CONFIG.theory), "evaluation": settings_json(CONFIG.evaluation)}


rule ideal_frontier:
    output:
        f"{RUN}/ideal.parquet",
    log:
        f"logs/{CONFIG.run}/ideal_frontier.log",
    params:
        **FRONTIERS,
        code=code("ideal_frontier.py"),
    shell:
        "python {SCRIPTS:q}/ideal_frontier.py --theory {params.theory:q} --evaluation {params.evaluation:q}"
        " --out {output:q} 2> {log:q}"


rule offline_frontier:
    input:
        lambda w: results(main_scores(CONFIG, w.task)),
    output:
        f"{RUN}/offline/{{task}}.parquet",
    log:
        f"logs/{CONFIG.run}/offline_frontier_{{task}}.log",
    params:
        **FRONTIERS,
        code=code("offline_frontier.py"),
    shell:
        "python {SCRIPTS:q}/offline_frontier.py {input:q} --theory {params.theory:q}"
        " --evaluation {params.evaluation:q} --task {wildcards.task:q} --out {output:q} 2> {log:q}"


rule collect_offline:
    input:
        expand(rules.offline_frontier.output, task=CONFIG.tasks),
    output:
        f"{RUN}/offline.parquet",
    log:
        f"logs/{CONFIG.run}/collect_offline.log",
    params:
        code=code("collect.py"),
    shell:
        "python {SCRIPTS:q}/collect.py {input:q} --out {output:q} 2> {log:q}"
