"""Judges of other sizes, for responses that are there already."""

from infalign.studies.judge_strength.sizes import OWN_JUDGE, REWARD_MODEL, judge_folders, score_tables

# The model's folder of each task and judge.
JUDGE_AT = {
    (task, judge): f"results/{folder}"
    for task in CONFIG.judge_strength.tasks
    for judge, folder in judge_folders(CONFIG.judge_strength, CONFIG, task).items()
}
# Two judges have scored the responses already, in these columns.
JUDGE_COLUMNS = {OWN_JUDGE: "judge", REWARD_MODEL: "reward"}


rule score_by_judge:
    input:
        responses=lambda w: results(*score_tables(CONFIG, w.task).values()),
        judge=lambda w: JUDGE_AT[w.task, w.judge],
        prompts=lambda w: f"{SHARED}/{FOLDER_OF[w.task]}/data/prompts.parquet",
        pairs=lambda w: f"{SHARED}/{FOLDER_OF[w.task]}/data/pairs.parquet",
    output:
        scores=f"{RUN}/judge_strength/{{task}}-{{judge}}.parquet",
        pairs=f"{RUN}/judge_strength/{{task}}-{{judge}}.pairs.parquet",
    log:
        f"logs/{CONFIG.run}/score_by_judge_{{task}}_{{judge}}.log",
    wildcard_constraints:
        judge="|".join(map(re.escape, {judge for _, judge in JUDGE_AT})),
    params:
        names=lambda w: list(score_tables(CONFIG, w.task)),
        column=lambda w: ["--column", JUDGE_COLUMNS[w.judge]] if w.judge in JUDGE_COLUMNS else [],
        code=code("score_by_judge.py"),
    shell:
        "python {SCRIPTS:q}/score_by_judge.py {input.responses:q} --names {params.names:q} --judge {input.judge:q}"
        " --prompts {input.prompts:q} --pairs {input.pairs:q} {params.column:q} --out {output.scores:q}"
        " --pairs-out {output.pairs:q} 2> {log:q}"


rule judge_strength:
    input:
        config=rules.record_config.output,
        scores=[
            f"{RUN}/judge_strength/{task}-{judge}{ending}.parquet"
            for task, judge in JUDGE_AT
            for ending in ("", ".pairs")
        ],
        responses=results(
            *(path for task in CONFIG.judge_strength.tasks for path in score_tables(CONFIG, task).values())
        ),
    output:
        f"{RUN}/judge_strength.parquet",
        f"{RUN}/judge_policies.parquet",
        f"{RUN}/prompt_judges.parquet",
    log:
        f"logs/{CONFIG.run}/judge_strength.log",
    params:
        run=RUN,
        tasks=SHARED,
        code=code("judge_strength.py"),
    shell:
        "python {SCRIPTS:q}/judge_strength.py {params.run:q} --tasks {params.tasks:q} 2> {log:q}"
