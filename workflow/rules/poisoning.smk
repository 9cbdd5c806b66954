"""Reward models trained on poisoned pairs: one job per task, rate and seed, and one sampling of the reference per task."""

POISONING_TABLES = {name: f"{RUN}/{name}.parquet" for name in ("poisoning", "prompt_poisoning")}

if CONFIG.poisoning:
    POISONED = poisoned_runs(CONFIG.poisoning)
    N_PAIRS = f"--n-pairs {CONFIG.poisoning.n_pairs}" if CONFIG.poisoning.n_pairs else ""

    def poisoned_task(w):
        return POISONED[w.poisoned][0]

    def of_poisoned_task(path):
        """Input function: a shared file of the task whose pairs are poisoned."""
        return lambda w: f"{SHARED}/{FOLDER_OF[poisoned_task(w)]}/{path}"

    rule sample_pair_prompts:
        input:
            model=rules.train_reference.output.model,
            pairs=rules.prepare_data.output.pairs,
        output:
            f"{RUN}/poisoning/rollouts/{{task}}.parquet",
        log:
            f"logs/{CONFIG.run}/sample_pair_prompts_{{task}}.log",
        conda:
            "../../envs/gpu.yaml"
        params:
            settings=lambda w: settings_json(
                poisoning_sampling(CONFIG.tasks[TASKS[w.task]], CONFIG.poisoning)
            ),
            seed=lambda w: CONFIG.tasks[TASKS[w.task]].seed + 3,  # that of no other set of responses
            n_pairs=N_PAIRS,
            code=code_hash("scripts/sample_pair_prompts.py"),
        shell:
            "python scripts/sample_pair_prompts.py {input.model} {input.pairs} {params.n_pairs}"
            " --settings {params.settings:q} --seed {params.seed} --out {output} 2> {log}"

    rule train_poisoned:
        input:
            pairs=of_poisoned_task("data/pairs.parquet"),
            rollouts=lambda w: f"{RUN}/poisoning/rollouts/{FOLDER_OF[poisoned_task(w)]}.parquet",
            demonstrations=of_poisoned_task("data/demonstrations.parquet"),
            tokenizer=of_poisoned_task("data/tokenizer"),
            reference=of_poisoned_task("models/reference"),
        output:
            f"{RUN}/poisoning/{{poisoned}}.parquet",
        log:
            f"logs/{CONFIG.run}/train_poisoned_{{poisoned}}.log",
        wildcard_constraints:
            poisoned="|".join(POISONED),
        conda:
            "../../envs/gpu.yaml"
        params:
            settings=lambda w: settings_json(CONFIG.tasks[poisoned_task(w)].reward_model),
            task=poisoned_task,
            phrase=lambda w: poisoning_phrase(
                CONFIG.poisoning, poisoned_task(w), CONFIG.tasks[poisoned_task(w)]
            ),
            rate=lambda w: POISONED[w.poisoned][1],
            seed=lambda w: POISONED[w.poisoned][2],
            n_pairs=N_PAIRS,
            code=code_hash("scripts/train_poisoned.py"),
        shell:
            "python scripts/train_poisoned.py {input.pairs} {input.rollouts} {params.n_pairs}"
            " --demonstrations {input.demonstrations} --tokenizer {input.tokenizer}"
            " --reference {input.reference} --settings {params.settings:q} --task {params.task}"
            " --phrase {params.phrase:q} --rate {params.rate} --seed {params.seed} --out {output} 2> {log}"

    rule poisoned_accuracy:
        input:
            expand(f"{RUN}/poisoning/{{poisoned}}.parquet", poisoned=POISONED),
        output:
            **POISONING_TABLES,
        log:
            f"logs/{CONFIG.run}/poisoned_accuracy.log",
        conda:
            "../../envs/cpu.yaml"
        params:
            evaluation=settings_json(CONFIG.evaluation),
            code=code_hash("scripts/poisoned_accuracy.py"),
        shell:
            "python scripts/poisoned_accuracy.py {input} --evaluation {params.evaluation:q}"
            " --out {output.poisoning} --by-prompt {output.prompt_poisoning} 2> {log}"
