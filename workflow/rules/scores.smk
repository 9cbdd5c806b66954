"""Scores of all responses by a reward model, the judge and the gold reward. A policy's responses also get its divergence."""


def divergence_models(w):
    """Input function: the policy whose divergence is measured, and its reference."""
    scores = SCORES[w.scores]
    if scores.policy is None:
        return {}
    reference = f"{SHARED}/{FOLDER_OF[scores.task]}/models/reference"
    return {"policy": f"results/{scores.policy}", "reference": reference}


def score_options(w):
    """Options of scripts/score.py beyond the models that score."""
    scores, models = SCORES[w.scores], divergence_models(w)
    engine = CONFIG.tasks[scores.task].rollouts.engine
    options = [text for name, folder in models.items() for text in (f"--{name}", folder)]
    options += ["--temperature", str(scores.temperature)] if models else []
    return options + ([] if engine == "transformers" else ["--engine", engine])


rule score:
    input:
        unpack(divergence_models),
        responses=lambda w: f"results/{SCORES[w.scores].responses}.parquet",
        prompts=lambda w: f"results/{SCORES[w.scores].prompts}",
        reward_model=lambda w: f"results/{SCORES[w.scores].reward_model}",
        judge=lambda w: f"results/{SCORES[w.scores].judge}",
    output:
        "results/{scores}.parquet",
    log:
        "logs/{scores}.log",
    benchmark:
        "results/{scores}.seconds.tsv"
    params:
        corpus=lambda w: settings_json(CONFIG.tasks[SCORES[w.scores].task].corpus),
        options=score_options,
        code=code("score.py"),
    shell:
        "python {SCRIPTS:q}/score.py {input.responses:q} {input.prompts:q} --reward-model {input.reward_model:q}"
        " --judge {input.judge:q} --corpus {params.corpus:q} {params.options:q} --out {output:q} 2> {log:q}"
