"""Measure every policy of a run against its reference."""

from pathlib import Path

import polars as pl
from tqdm import tqdm

from infalign.records.command import run_command
from infalign.records.config import read_config, task_folder
from infalign.records.metrics import METRICS_SCHEMA, PROMPT_SCHEMA, policy_metrics
from infalign.records.sweep import policies, policy_folder
from infalign.records.tables import read_manifest, read_table, write_table

COLUMNS = ["prompt_id", "sample_id", "reward", "judge", "tokens", "n_tokens"]


def evaluate(config: Path, /, *, offline: Path, tasks: Path, out: Path, prompts_out: Path) -> None:
    """Write the metrics of all policies.

    Parameters
    ----------
    config : the run's recorded configuration.
    offline : offline frontiers of the run.
    tasks : folder of the shared results.
    out : table of metrics to write.
    prompts_out : table of win rates and KL by prompt to write.
    """
    run = read_config(config)
    frontier = read_table(offline, ["task", "transform", "procedure", "select", "scorer", "kl", "win_rate"])
    rows, prompt_rows = [], []
    for policy in tqdm(policies(run), desc="policies", disable=None):
        folder = tasks / policy_folder(run, policy)
        reference = tasks / task_folder(run, policy.task) / "scores" / "evaluation.parquet"
        more, more_prompts = policy_metrics(
            policy,
            read_manifest(folder / "training.parquet")["beta"],
            run.tasks[policy.task].samples.temperature,
            read_table(folder / "scores.parquet", [*COLUMNS, "kl"]),
            read_table(reference, COLUMNS),
            run.evaluation,
            frontier.filter(task=policy.task),
        )
        rows += more
        prompt_rows += more_prompts
    write_table(pl.DataFrame(rows, schema=METRICS_SCHEMA), out, {"run": run.run})
    write_table(pl.DataFrame(prompt_rows, schema=PROMPT_SCHEMA), prompts_out, {"run": run.run})


if __name__ == "__main__":
    run_command(evaluate)
