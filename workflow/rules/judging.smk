"""A language model behind a server as a further judge: one job asks it about all policies, one counts and compares."""

JUDGING_TABLES = {name: f"{RUN}/{name}.parquet" for name in ("verdicts", "agreement")}
JUDGEMENTS = f"{RUN}/judgements.parquet"

if CONFIG.judge:

    def judged_scores(w):
        """Input function: scores of the judged policies and of their tasks' reference, main condition."""
        return [
            *(
                f"{SHARED}/{policy_folder(CONFIG, policy)}/scores/{main_samples(policy)}.parquet"
                for policy in JUDGED
            ),
            *(main_scores(name) for name in dict.fromkeys(policy.task for policy in JUDGED)),
        ]

    def main_samples(policy):
        return next(iter(policy_sets(CONFIG.tasks[policy.task])))

    JUDGE = CONFIG.judge

    if JUDGE.trained:
        JUDGED_TASKS = JUDGE.tasks or list(CONFIG.tasks)
        JUDGE = JUDGE.model_copy(update={"model": f"results/judges/{trained_judge_folder(CONFIG)}"})

        rule train_language_judge:
            input:
                [f"{SHARED}/{FOLDER_OF[name]}/data/pairs.parquet" for name in JUDGED_TASKS],
            output:
                model=directory(JUDGE.model),
            log:
                f"logs/{CONFIG.run}/train_language_judge.log",
            conda:
                "../../envs/gpu.yaml"
            params:
                principles=[principle(JUDGE, name, CONFIG.tasks[name].corpus) for name in JUDGED_TASKS],
                prompt=JUDGE.prompt,
                prompt_sha256=read_prompt(JUDGE.prompt).sha256,
                settings=settings_json(JUDGE.trained),
                code=code_hash("scripts/train_language_judge.py"),
            shell:
                "python scripts/train_language_judge.py {input} --principles {params.principles:q}"
                " --prompt {params.prompt} --settings {params.settings:q} --out {output.model} 2> {log}"

    rule ask_judge:
        input:
            config=rules.record_config.output,
            model=JUDGE.model if JUDGE.trained else [],
            scores=judged_scores,
            prompts=expand(
                f"{SHARED}/{{task}}/data/prompts.parquet",
                task=dict.fromkeys(FOLDER_OF[policy.task] for policy in JUDGED),
            ),
        output:
            JUDGEMENTS,
        log:
            f"logs/{CONFIG.run}/ask_judge.log",
        conda:
            "../../envs/cpu.yaml"
        params:
            tasks=SHARED,
            cache=f"results/judges/{cache_name(JUDGE)}",
            model=f"--model {JUDGE.model}" if JUDGE.trained else "",
            prompt=read_prompt(JUDGE.prompt).sha256,
            code=code_hash("scripts/ask_judge.py"),
        shell:
            "python scripts/ask_judge.py {input.config} --tasks {params.tasks} --cache {params.cache:q}"
            " {params.model} --out {output} 2> {log}"

    rule judge_agreement:
        input:
            rules.ask_judge.output,
        output:
            **JUDGING_TABLES,
            html=report(f"{RUN}/verdicts.html", caption="../report/verdicts.rst", category="Judges"),
        log:
            f"logs/{CONFIG.run}/judge_agreement.log",
        conda:
            "../../envs/cpu.yaml"
        params:
            evaluation=settings_json(CONFIG.evaluation),
            code=code_hash("scripts/judge_agreement.py"),
        shell:
            "python scripts/judge_agreement.py {input} --evaluation {params.evaluation:q}"
            " --verdicts {output.verdicts} --html {output.html} --out {output.agreement} 2> {log}"
