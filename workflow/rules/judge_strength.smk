"""Judges of other sizes, and one trained on the reward model's pairs, for responses that are there already."""

STRENGTH_TABLES = {
    name: f"{RUN}/{name}.parquet" for name in ("judge_strength", "judge_policies", "prompt_judges")
}

if CONFIG.judge_strength:
    # Of each task the judges that are trained, and of all judges the folder of the model.
    SIZED = {name: sized_judges(CONFIG, name) for name in CONFIG.judge_strength.tasks}
    JUDGE_AT = {
        (name, judge): f"{SHARED}/{FOLDER_OF[name]}/judges/{judge_folder(judge, sized)}"
        for name, judges in SIZED.items()
        for judge, sized in judges.items()
    }
    JUDGE_OF = {os.path.basename(folder): key for key, folder in JUDGE_AT.items()}
    JUDGE_AT |= {
        (name, model): f"{SHARED}/{FOLDER_OF[name]}/models/{model}"
        for name in SIZED
        for model in (OWN_JUDGE, REWARD_MODEL)
    }
    JUDGE_COLUMNS = {OWN_JUDGE: "judge", REWARD_MODEL: "reward"}

    def sized_judge(w):
        return SIZED[TASKS[w.task]][JUDGE_OF[w.sized][1]]

    def of_judged_task(path):
        """Input function: a shared file of the task whose responses are judged."""
        return lambda w: f"{SHARED}/{FOLDER_OF[w.name]}/{path}"

    wildcard_constraints:
        sized="|".join(map(re.escape, JUDGE_OF)),
        judge="|".join(map(re.escape, {judge for _, judge in JUDGE_AT})),

    rule train_judge:
        input:
            pairs=f"{SHARED}/{{task}}/data/pairs.parquet",
            labels=f"{SHARED}/{{task}}/data/labels.parquet",
            demonstrations=f"{SHARED}/{{task}}/data/demonstrations.parquet",
            tokenizer=f"{SHARED}/{{task}}/data/tokenizer",
            reference=f"{SHARED}/{{task}}/models/reference",
        output:
            model=directory(f"{SHARED}/{{task}}/judges/{{sized}}"),
        log:
            "logs/{task}/train_judge_{sized}.log",
        conda:
            "../../envs/gpu.yaml"
        params:
            settings=lambda w: settings_json(sized_judge(w).settings),
            split=lambda w: sized_judge(w).split,
            seed=lambda w: CONFIG.tasks[TASKS[w.task]].seed,
            code=code_hash("scripts/train_preference_model.py"),
        shell:
            "python scripts/train_preference_model.py {input.pairs} --labels {input.labels}"
            " --split {params.split} --demonstrations {input.demonstrations} --tokenizer {input.tokenizer}"
            " --reference {input.reference} --settings {params.settings:q} --seed {params.seed}"
            " --out {output.model} 2> {log}"

    rule score_by_judge:
        input:
            responses=lambda w: [f"{SHARED}/{path}" for path in score_tables(CONFIG, w.name).values()],
            judge=lambda w: JUDGE_AT[w.name, w.judge],
            prompts=of_judged_task("data/prompts.parquet"),
            pairs=of_judged_task("data/pairs.parquet"),
        output:
            scores=f"{RUN}/judge_strength/{{name}}-{{judge}}.parquet",
            pairs=f"{RUN}/judge_strength/{{name}}-{{judge}}.pairs.parquet",
        log:
            f"logs/{CONFIG.run}/score_by_judge_{{name}}_{{judge}}.log",
        conda:
            "../../envs/gpu.yaml"
        params:
            names=lambda w: list(score_tables(CONFIG, w.name)),
            column=lambda w: f"--column {JUDGE_COLUMNS[w.judge]}" if w.judge in JUDGE_COLUMNS else "",
            code=code_hash("scripts/score_by_judge.py"),
        shell:
            "python scripts/score_by_judge.py {input.responses} --names {params.names} --judge {input.judge}"
            " --prompts {input.prompts} --pairs {input.pairs} {params.column} --out {output.scores}"
            " --pairs-out {output.pairs} 2> {log}"

    rule judge_strength:
        input:
            config=rules.record_config.output,
            scores=[
                f"{RUN}/judge_strength/{name}-{judge}{end}.parquet"
                for name, judge in JUDGE_AT
                for end in ("", ".pairs")
            ],
            responses=[f"{SHARED}/{path}" for name in SIZED for path in score_tables(CONFIG, name).values()],
        output:
            **STRENGTH_TABLES,
        log:
            f"logs/{CONFIG.run}/judge_strength.log",
        conda:
            "../../envs/cpu.yaml"
        params:
            run=RUN,
            tasks=SHARED,
            code=code_hash("scripts/judge_strength.py"),
        shell:
            "python scripts/judge_strength.py {params.run} --tasks {params.tasks} 2> {log}"
