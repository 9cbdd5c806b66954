"""Responses of all policies: the reference's rollouts, the policies' samples, and what studies sample."""


rule sample:
    input:
        model=lambda w: f"results/{RESPONSES[w.responses].model}",
        prompts=lambda w: f"results/{RESPONSES[w.responses].prompts}",
    output:
        "results/{responses}.parquet",
    log:
        "logs/{responses}.log",
    benchmark:
        "results/{responses}.seconds.tsv"
    params:
        options=lambda w: RESPONSES[w.responses].options,
        settings=lambda w: settings_json(RESPONSES[w.responses].sampling),
        seed=lambda w: RESPONSES[w.responses].seed(CONFIG),
        code=code("sample.py"),
    shell:
        "python {SCRIPTS:q}/sample.py {input.model:q} {input.prompts:q} {params.options:q}"
        " --settings {params.settings:q} --seed {params.seed:q} --out {output:q} 2> {log:q}"


if MERGED:

    def shards_of(ending):
        """Input function: files of the shards that are put together."""
        return lambda w: [f"results/{shard}.{ending}" for shard in MERGED[w.merged]]

    rule merge_shards:
        input:
            shards_of("parquet"),
        output:
            "results/{merged}.parquet",
        log:
            "logs/{merged}.log",
        params:
            code=code("merge_shards.py"),
        shell:
            "python {SCRIPTS:q}/merge_shards.py {input:q} --out {output:q} 2> {log:q}"

    rule sum_seconds:
        input:
            shards_of("seconds.tsv"),
        output:
            "results/{merged}.seconds.tsv",
        log:
            "logs/{merged}.seconds.log",
        params:
            code=code("sum_seconds.py"),
        shell:
            "python {SCRIPTS:q}/sum_seconds.py {input:q} --out {output:q} 2> {log:q}"
