"""A language model behind a server as a further judge.

One job asks it about all policies. One counts its verdicts and compares them with other judges. One measures the policies.
"""

from infalign.studies.language_judge.block import cache_name, principle, read_judge_prompt
from infalign.studies.language_judge.pairs import judged_policies, trained_judge_folder

JUDGED = judged_policies(CONFIG.judge, CONFIG)
LANGUAGE_JUDGE = CONFIG.judge

if LANGUAGE_JUDGE.trained:
    JUDGED_TASKS = LANGUAGE_JUDGE.tasks or list(CONFIG.tasks)
    LANGUAGE_JUDGE = LANGUAGE_JUDGE.model_copy(
        update={"model": f"results/judges/{trained_judge_folder(CONFIG.judge, CONFIG)}"}
    )

    rule train_language_judge:
        input:
            [f"{SHARED}/{FOLDER_OF[task]}/data/pairs.parquet" for task in JUDGED_TASKS],
        output:
            model=directory(LANGUAGE_JUDGE.model),
        log:
            f"logs/{CONFIG.run}/train_language_judge.log",
        params:
            # a function, since texts in it may hold braces
            principles=lambda w: [principle(LANGUAGE_JUDGE, task, CONFIG.tasks[task].corpus) for task in JUDGED_TASKS],
            prompt=LANGUAGE_JUDGE.prompt,
            prompt_sha256=read_judge_prompt(LANGUAGE_JUDGE.prompt).sha256,
            settings=settings_json(LANGUAGE_JUDGE.trained),
            code=code("train_language_judge.py"),
        shell:
            "python {SCRIPTS:q}/train_language_judge.py {input:q} --principles {params.principles:q}"
            " --prompt {params.prompt:q} --settings {params.settings:q} --out {output.model:q} 2> {log:q}"


rule ask_judge:
    input:
        config=rules.record_config.output,
        model=LANGUAGE_JUDGE.model if LANGUAGE_JUDGE.trained else [],
        policies=results(*(policy_scores(CONFIG, policy) for policy in JUDGED)),
        references=results(*(main_scores(CONFIG, task) for task in dict.fromkeys(policy.task for policy in JUDGED))),
        prompts=expand(
            f"{SHARED}/{{folder}}/data/prompts.parquet",
            folder=dict.fromkeys(FOLDER_OF[policy.task] for policy in JUDGED),
        ),
    output:
        f"{RUN}/judgements.parquet",
    log:
        f"logs/{CONFIG.run}/ask_judge.log",
    params:
        tasks=SHARED,
        cache=f"results/judges/{cache_name(LANGUAGE_JUDGE)}",
        model=["--model", LANGUAGE_JUDGE.model] if LANGUAGE_JUDGE.trained else [],
        prompt=read_judge_prompt(LANGUAGE_JUDGE.prompt).sha256,
        code=code("ask_judge.py"),
    shell:
        "python {SCRIPTS:q}/ask_judge.py {input.config:q} --tasks {params.tasks:q} --cache {params.cache:q}"
        " {params.model:q} --out {output:q} 2> {log:q}"


rule judge_agreement:
    input:
        rules.ask_judge.output,
    output:
        verdicts=f"{RUN}/verdicts.parquet",
        agreement=f"{RUN}/agreement.parquet",
        html=report(f"{RUN}/verdicts.html", caption="../../report/verdicts.rst", category="Judges"),
    log:
        f"logs/{CONFIG.run}/judge_agreement.log",
    params:
        evaluation=settings_json(CONFIG.evaluation),
        code=code("judge_agreement.py"),
    shell:
        "python {SCRIPTS:q}/judge_agreement.py {input:q} --evaluation {params.evaluation:q}"
        " --verdicts {output.verdicts:q} --html {output.html:q} --out {output.agreement:q} 2> {log:q}"


PAGES.append(rules.judge_agreement.output.html)


rule evaluate_by_language_judge:
    input:
        judgements=rules.ask_judge.output,
        metrics=rules.evaluate.output.metrics,
        config=rules.record_config.output,
        policies=rules.ask_judge.input.policies,
        references=rules.ask_judge.input.references,
    output:
        metrics=f"{RUN}/language_judge_metrics.parquet",
        prompts=f"{RUN}/prompt_language_judge_metrics.parquet",
    log:
        f"logs/{CONFIG.run}/evaluate_by_language_judge.log",
    params:
        tasks=SHARED,
        code=code("evaluate_by_language_judge.py"),
    shell:
        "python {SCRIPTS:q}/evaluate_by_language_judge.py {input.config:q} --metrics {input.metrics:q}"
        " --judgements {input.judgements:q} --tasks {params.tasks:q} --out {output.metrics:q}"
        " --prompts-out {output.prompts:q} 2> {log:q}"
