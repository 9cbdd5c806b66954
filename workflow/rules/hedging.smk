"""Hedging against reward hacking: many responses of a task's reference, scored by several proxies."""

HEDGING_TABLES = {
    name: f"{RUN}/{name}.parquet"
    for name in ("hacking", "hedges", "prompt_hedges", "regimes", "extrema", "poisson_tilt")
}

if CONFIG.hedging:
    HEDGED = {pool.task: pool for pool in CONFIG.hedging}
    POOL_AT = f"{SHARED}/{{task}}/pools/{{pool}}"
    # Of each task the proxies by their names in paths.
    PROXIES = {
        name: {path: pool.proxies[proxy] for proxy, path in proxy_names(pool).items()}
        for name, pool in HEDGED.items()
    }
    POOL_SCORES = [
        f"{SHARED}/{FOLDER_OF[name]}/pools/{pool_name(pool)}/{path}.parquet"
        for name, pool in HEDGED.items()
        for path in PROXIES[name]
    ]

    def pool_of(w):
        return HEDGED[TASKS[w.task]]

    def proxy_of(w):
        return PROXIES[TASKS[w.task]][w.proxy]

    def proxy_folder(w):
        """Input function: the model that a proxy's scores are from."""
        return f"{SHARED}/{w.task}/" + ("models" if proxy_of(w).is_own else "proxies") + f"/{w.proxy}"

    def changes(w):
        """Options of the training for changed pairs."""
        options = {"--n-pairs": proxy_of(w).n_pairs, "--flipped": proxy_of(w).flipped}
        return " ".join(f"{option} {value}" for option, value in options.items() if value is not None)

    wildcard_constraints:
        pool="|".join({pool_name(pool) for pool in CONFIG.hedging}),
        proxy="|".join({path for paths in PROXIES.values() for path in paths}),

    rule sample_pool:
        input:
            model=f"{SHARED}/{{task}}/models/reference",
            prompts=f"{SHARED}/{{task}}/data/prompts.parquet",
        output:
            f"{POOL_AT}/samples.parquet",
        log:
            "logs/{task}/sample_pool_{pool}.log",
        conda:
            "../../envs/gpu.yaml"
        params:
            settings=lambda w: settings_json(pool_sampling(CONFIG.tasks[TASKS[w.task]], pool_of(w))),
            n_prompts=lambda w: f"--n-prompts {pool_of(w).n_prompts}" if pool_of(w).n_prompts else "",
            seed=lambda w: CONFIG.tasks[TASKS[w.task]].seed + 4,  # that of no other set of responses
            code=code_hash("scripts/sample.py"),
        shell:
            "python scripts/sample.py {input.model} {input.prompts} --split evaluation {params.n_prompts}"
            " --settings {params.settings:q} --seed {params.seed} --out {output} 2> {log}"

    rule train_proxy:
        input:
            pairs=f"{SHARED}/{{task}}/data/pairs.parquet",
            labels=f"{SHARED}/{{task}}/data/labels.parquet",
            demonstrations=f"{SHARED}/{{task}}/data/demonstrations.parquet",
            tokenizer=f"{SHARED}/{{task}}/data/tokenizer",
            reference=f"{SHARED}/{{task}}/models/reference",
        output:
            model=directory(f"{SHARED}/{{task}}/proxies/{{proxy}}"),
        log:
            "logs/{task}/train_{proxy}.log",
        conda:
            "../../envs/gpu.yaml"
        params:
            settings=lambda w: settings_json(proxy_model(CONFIG.tasks[TASKS[w.task]], proxy_of(w))),
            changes=changes,
            seed=lambda w: CONFIG.tasks[TASKS[w.task]].seed,
            code=code_hash("scripts/train_preference_model.py"),
        shell:
            "python scripts/train_preference_model.py {input.pairs} --labels {input.labels} --split reward"
            " {params.changes} --demonstrations {input.demonstrations} --tokenizer {input.tokenizer}"
            " --reference {input.reference} --settings {params.settings:q} --seed {params.seed}"
            " --out {output.model} 2> {log}"

    rule score_pool:
        input:
            responses=rules.sample_pool.output,
            prompts=f"{SHARED}/{{task}}/data/prompts.parquet",
            reward=proxy_folder,
            judge=f"{SHARED}/{{task}}/models/judge",
        output:
            f"{POOL_AT}/{{proxy}}.parquet",
        log:
            "logs/{task}/score_pool_{pool}_{proxy}.log",
        conda:
            "../../envs/gpu.yaml"
        params:
            corpus=lambda w: settings_json(CONFIG.tasks[TASKS[w.task]].corpus),
            engine=lambda w: engine_option(CONFIG.tasks[TASKS[w.task]]),
            code=code_hash("scripts/score.py"),
        shell:
            "python scripts/score.py {input.responses} {input.prompts} --reward-model {input.reward}"
            " --judge {input.judge} --corpus {params.corpus:q} {params.engine} --out {output} 2> {log}"

    rule hedge_pools:
        input:
            config=rules.record_config.output,
            scores=POOL_SCORES,
        output:
            **{name: HEDGING_TABLES[name] for name in ("hacking", "hedges", "prompt_hedges")},
        log:
            f"logs/{CONFIG.run}/hedge_pools.log",
        conda:
            "../../envs/cpu.yaml"
        params:
            tasks=SHARED,
            code=code_hash("scripts/hedge_pools.py"),
        shell:
            "python scripts/hedge_pools.py {input.config} --tasks {params.tasks} --hacking {output.hacking}"
            " --hedges {output.hedges} --by-prompt {output.prompt_hedges} 2> {log}"

    rule hedging_theory:
        output:
            **{name: HEDGING_TABLES[name] for name in ("regimes", "extrema", "poisson_tilt")},
        log:
            f"logs/{CONFIG.run}/hedging_theory.log",
        conda:
            "../../envs/cpu.yaml"
        params:
            code=code_hash("scripts/hedging_theory.py"),
        shell:
            "python scripts/hedging_theory.py --regimes {output.regimes} --extrema {output.extrema}"
            " --poisson-tilt {output.poisson_tilt} 2> {log}"
