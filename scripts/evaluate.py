"""Measure every policy of a run against its reference."""

from pathlib import Path

import polars as pl
from tqdm import tqdm

from infalign.records.command import run_command
from infalign.records.config import read_config, task_folder
from infalign.records.metrics import METRICS_SCHEMA, PROMPT_SCHEMA, distinct_bigrams, policy_metrics
from infalign.records.sweep import conditions, policies, policy_folder, sampled_sets
from infalign.records.tables import read_blocks, read_manifest, read_table, write_table

COLUMNS = ["prompt_id", "sample_id", "reward", "judge", "n_tokens"]


def evaluate(
    config: Path,
    /,
    *,
    offline: Path,
    tasks: Path,
    out: Path,
    prompts_out: Path,
) -> None:
    """Write the metrics of all policies under all conditions.

    Parameters
    ----------
    config : the run's recorded configuration.
    offline : offline frontiers of the run, of each task's main condition.
    tasks : folder of the shared results.
    out : table of metrics to write.
    prompts_out : table of win rates and KL by prompt to write.
    """
    run = read_config(config)
    frontier = read_table(offline, ["task", "transform", "procedure", "select", "scorer", "kl", "win_rate"])
    cases = [(policy, case) for policy in policies(run) for case in sampled_sets(run, policy).items()]
    rows, prompt_rows = [], [pl.DataFrame(schema=PROMPT_SCHEMA)]
    for policy, (samples, condition) in tqdm(cases, desc="policies", disable=None):
        folder = tasks / policy_folder(run, policy)
        scores = folder / "scores" / f"{samples}.parquet"
        reference = tasks / task_folder(run, policy.task) / "scores" / f"{condition.name}.parquet"
        main = condition == conditions(run.tasks[policy.task])[0]
        responses = (
            read_table(scores, [*COLUMNS, "kl"], also=["gold"]),
            read_table(reference, COLUMNS, also=["gold"]),
        )
        more, more_prompts = policy_metrics(
            policy,
            read_manifest(folder / "training.parquet")["beta"],
            condition,
            *responses,
            run.evaluation,
            frontier.filter(task=policy.task) if main else frontier.clear(),
            bigrams_of(scores, responses[0]),
        )
        rows += more
        prompt_rows.append(pl.DataFrame(more_prompts, schema=PROMPT_SCHEMA))
    write_table(pl.DataFrame(rows, schema=METRICS_SCHEMA), out, {"run": run.run})
    write_table(pl.concat(prompt_rows), prompts_out, {"run": run.run})


def bigrams_of(path: Path, scores: pl.DataFrame) -> float:
    """Share of distinct bigrams in the responses of a table, whose scores are read already."""
    n_pairs = int((scores["n_tokens"].cast(pl.Int64) - 1).clip(0).sum())
    return distinct_bigrams(lambda: (block["tokens"] for block in read_blocks(path, ["tokens"])), n_pairs)


if __name__ == "__main__":
    run_command(evaluate)
