"""Frontiers before any training: the ideal one, and the offline tilt of the scored reference rollouts."""


def main_scores(name):
    """Scored reference rollouts of a task's main condition."""
    main = conditions(CONFIG.tasks[name])[0]
    return f"{SHARED}/{FOLDER_OF[name]}/scores/{main.name}.parquet"


rule record_config:
    output:
        f"{RUN}/config.json",
    log:
        f"logs/{CONFIG.run}/record_config.log",
    conda:
        "../../envs/cpu.yaml"
    params:
        config=lambda w: CONFIG.model_dump_json(),  # a function, since texts in it may hold braces
        code=code_hash("scripts/record_config.py"),
    shell:
        "python scripts/record_config.py {params.config:q} --out {output} 2> {log}"


# Of the blocks that frontiers depend on alone, so that another policy or task computes none of them again.
FRONTIERS = {"theory": settings_json(CONFIG.theory), "evaluation": settings_json(CONFIG.evaluation)}


rule ideal_frontier:
    output:
        f"{RUN}/ideal.parquet",
    log:
        f"logs/{CONFIG.run}/ideal_frontier.log",
    conda:
        "../../envs/cpu.yaml"
    params:
        **FRONTIERS,
        code=code_hash("scripts/ideal_frontier.py"),
    shell:
        "python scripts/ideal_frontier.py --theory {params.theory:q} --evaluation {params.evaluation:q}"
        " --out {output} 2> {log}"


rule best_of_n_bounds:
    output:
        f"{RUN}/bounds.parquet",
    log:
        f"logs/{CONFIG.run}/best_of_n_bounds.log",
    conda:
        "../../envs/cpu.yaml"
    params:
        code=code_hash("scripts/best_of_n_bounds.py"),
    shell:
        "python scripts/best_of_n_bounds.py --out {output} 2> {log}"


rule multitask:
    output:
        multitask=f"{RUN}/multitask.parquet",
        change=f"{RUN}/change_of_variables.parquet",
    log:
        f"logs/{CONFIG.run}/multitask.log",
    conda:
        "../../envs/cpu.yaml"
    params:
        code=code_hash("scripts/multitask.py"),
    shell:
        "python scripts/multitask.py --out {output.multitask} --change-of-variables {output.change} 2> {log}"


rule offline_frontier:
    input:
        lambda w: main_scores(w.name),
    output:
        f"{RUN}/offline/{{name}}.parquet",
    log:
        f"logs/{CONFIG.run}/offline_frontier_{{name}}.log",
    conda:
        "../../envs/cpu.yaml"
    params:
        **FRONTIERS,
        code=code_hash("scripts/offline_frontier.py"),
    shell:
        "python scripts/offline_frontier.py {input} --theory {params.theory:q}"
        " --evaluation {params.evaluation:q} --task {wildcards.name} --out {output} 2> {log}"


rule collect_offline:
    input:
        expand(rules.offline_frontier.output, name=CONFIG.tasks),
    output:
        f"{RUN}/offline.parquet",
    log:
        f"logs/{CONFIG.run}/collect_offline.log",
    conda:
        "../../envs/cpu.yaml"
    params:
        code=code_hash("scripts/collect.py"),
    shell:
        "python scripts/collect.py {input} --out {output} 2> {log}"
