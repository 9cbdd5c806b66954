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


def evaluate(config: Path, /, *, offline: Path, tasks: Path, out: Path, prompts_out: Path) -> None:
    """Write the metrics of all policies under all conditions.

    Parameters
    ----------
    config : Path
        The run's recorded configuration.
    offline : Path
        Offline frontiers of the run, of each task's main condition.
    tasks : Path
        Folder of the shared results.
    out : Path
        Table of metrics to write.
    prompts_out : Path
        Table of win rates and KL by prompt to write.
    """
    run = read_config(config)
    frontier = read_table(offline, ["task", "transform", "procedure", "select", "scorer", "kl", "win_rate"])
    cases = [(policy, case) for policy in policies(run) for case in sampled_sets(run, policy).items()]
    rows, prompt_rows = [], [pl.DataFrame(schema=PROMPT_SCHEMA)]
    for policy, (samples, condition) in tqdm(cases, desc="policies", disable=None):
        folder = tasks / policy_folder(run, policy)
        path = folder / "scores" / f"{samples}.parquet"
        scores = read_table(path, [*COLUMNS, "kl"], also=["gold"])
        of_reference = tasks / task_folder(run, policy.task) / "scores" / f"{condition.name}.parquet"
        reference = read_table(of_reference, COLUMNS, also=["gold"])
        is_main = condition == conditions(run.tasks[policy.task])[0]
        predicted = frontier.filter(task=policy.task) if is_main else frontier.clear()
        beta = read_manifest(folder / "training.parquet")["beta"]
        measured = (policy, beta, condition, scores, reference, run.evaluation, predicted)
        more, more_prompts = policy_metrics(*measured, share_of_distinct_bigrams(path, scores))
        rows += more
        prompt_rows.append(pl.DataFrame(more_prompts, schema=PROMPT_SCHEMA))
    write_table(pl.DataFrame(rows, schema=METRICS_SCHEMA), out, {"run": run.run})
    write_table(pl.concat(prompt_rows), prompts_out, {"run": run.run})


def share_of_distinct_bigrams(path: Path, scores: pl.DataFrame) -> float:
    n_pairs = int((scores["n_tokens"].cast(pl.Int64) - 1).clip(0).sum())
    return distinct_bigrams(lambda: (block["tokens"] for block in read_blocks(path, ["tokens"])), n_pairs)


if __name__ == "__main__":
    run_command(evaluate)
