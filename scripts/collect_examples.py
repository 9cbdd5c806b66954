"""Collect example responses of the reference and of the policies at each temperature."""

from dataclasses import asdict
from pathlib import Path

import polars as pl

from infalign.presentation.curves import ALIKE, most_seeds, trained_n
from infalign.presentation.report import examples_html
from infalign.records.command import run_command
from infalign.records.config import Config, read_config, task_folder
from infalign.records.sweep import policies, policy_folder, policy_sets, sampled_sets
from infalign.records.tables import read_table, write_atomically, write_table
from infalign.studies.temperatures.figures import EXAMPLES_SCHEMA, examples, policy_label

COLUMNS = ["prompt_id", "sample_id", "response", "reward", "judge"]


def collect_examples(run: Path, /, *, tasks: Path, n_prompts: int = 2) -> None:
    """Write examples.parquet and examples.html into the run's folder.

    Prompts are shown for the embedded corpora only: no text of a data set leaves its folder.

    Parameters
    ----------
    run : folder of the run, with its configuration.
    tasks : folder of the shared results.
    n_prompts : of each split.
    """
    config = read_config(run / "config.json")
    rows = [row for name in config.tasks for row in task_examples(config, name, tasks, n_prompts)]
    frame = pl.DataFrame(rows, schema=EXAMPLES_SCHEMA)
    write_table(frame, run / "examples.parquet", {"run": config.run})
    page = examples_html(frame)
    write_atomically(run / "examples.html", lambda partial: partial.write_text(page, encoding="utf-8"))


def task_examples(config: Config, name: str, tasks: Path, n_prompts: int) -> list[dict]:
    """Examples of one task under each of its conditions; of policies that differ in seed the first."""
    task, listed = config.tasks[name], [policy for policy in policies(config) if policy.task == name]
    n, names, rows = None, [], []
    if listed:  # else the reference alone
        shown = most_seeds(pl.DataFrame([policy.row() for policy in listed], infer_schema_length=None))
        n = trained_n(shown)
        names = shown.filter(pl.col("seed") == pl.col("seed").min().over(ALIKE))["policy"].to_list()
    labelled = {policy_label(policy.row()): policy for policy in listed if policy.slug in names}
    for samples, condition in policy_sets(task).items():
        path = tasks / task_folder(config, name) / "scores" / f"{condition.name}.parquet"
        prompt_ids = read_table(path, ["prompt_id"], also=())["prompt_id"].unique().sort().head(n_prompts)
        texts = prompts_of(config, name, tasks)
        reference = responses_to(prompt_ids, path).join(texts, on="prompt_id", how="left")
        scored = [
            (
                label,
                responses_to(prompt_ids, tasks / policy_folder(config, p) / "scores" / f"{samples}.parquet"),
            )
            for label, p in labelled.items()
            if samples in sampled_sets(config, p)
        ]
        rows += examples(name, asdict(condition), reference, scored, n=n, n_prompts=n_prompts)
    return rows


def responses_to(prompt_ids: pl.Series, path: Path) -> pl.DataFrame:
    """Scored responses to some prompts; the texts of all of them need not fit into memory."""
    rows = pl.scan_parquet(path).filter(pl.col("prompt_id").is_in(prompt_ids.implode()))
    return rows.select(COLUMNS).collect(engine="streaming")


def prompts_of(config: Config, name: str, tasks: Path) -> pl.DataFrame:
    """Prompts by their ids; null where they are a data set's."""
    path = tasks / task_folder(config, name) / "data" / "prompts.parquet"
    prompts = read_table(path, ["prompt_id", "prompt"]).select("prompt_id", "prompt")
    if config.tasks[name].corpus.source == "embedded":
        return prompts
    return prompts.with_columns(prompt=pl.lit(None, pl.String))


if __name__ == "__main__":
    run_command(collect_examples)
