"""The tables of a run, each read when it is asked for."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from pathlib import Path

import polars as pl

from infalign.records.block import B
from infalign.records.config import Config, read_config, read_study_block, task_folder
from infalign.records.metrics import main_condition
from infalign.records.sweep import policies, policy_folder
from infalign.records.tables import measured_seconds, read_table


class RunTables:
    """What a run recorded of its configuration, and its tables.

    Parameters
    ----------
    tasks : Path
        Folder of the results that runs share.
    made : collection of str, optional
        Tables that the run makes. None: all that are asked for.
    """

    def __init__(self, run: Path, tasks: Path, made: Collection[str] | None = None) -> None:
        self.run, self.tasks, self.made = run, tasks, made
        self.tables: dict[str, pl.DataFrame] = {}

    @cached_property
    def config(self) -> Config:
        """Tasks, policies and evaluation of the run."""
        return read_config(self.run / "config.json")

    def block(self, name: str, kind: type[B]) -> B:
        """Read the block of a study; InputError if the run has none."""
        return read_study_block(self.run / "config.json", name, kind)

    def __contains__(self, name: str) -> bool:
        return self.made is None or name in self.made

    def __getitem__(self, name: str) -> pl.DataFrame:
        if name not in self.tables:
            self.tables[name] = self.read(name)
        return self.tables[name]

    def read(self, name: str, *, may_be_empty: bool = False) -> pl.DataFrame:
        """Read a table anew; InputError if it is not there or, unless it may, has no rows."""
        return read_table(self.run / f"{name}.parquet", may_be_empty=may_be_empty)

    def main(self, name: str) -> pl.DataFrame:
        """Read the rows of a table at each task's main condition."""
        return main_condition(self[name], self.config)

    @property
    def tasks_of_run(self) -> Collection[str]:
        """Names of the run's tasks."""
        return self.config.tasks

    def scores(self, task: str) -> pl.DataFrame:
        """Read prompt_id, sample_id and reward of a task's rollouts to the training prompts."""
        path = self.tasks / task_folder(self.config, task) / "scores" / "train.parquet"
        return read_table(path, ["prompt_id", "reward"], also=["sample_id"])

    def rollout_seconds(self, task: str) -> float:
        """Seconds of sampling and scoring one rollout to each training prompt of a task."""
        folder = self.tasks / task_folder(self.config, task)
        seconds = sum(measured_seconds(folder / part / "train.seconds.tsv") for part in ("rollouts", "scores"))
        return seconds / self.config.tasks[task].rollouts.n_rollouts

    def training_seconds(self) -> pl.DataFrame:
        """Median seconds of an update of every policy that was trained: task, policy, seconds."""
        rows = []
        for policy in policies(self.config):
            log = pl.read_parquet(self.tasks / policy_folder(self.config, policy) / "training.parquet")
            if not log.is_empty():
                rows.append((policy.task, policy.slug, log["seconds"].median()))
        schema = {"task": pl.String, "policy": pl.String, "seconds": pl.Float64}
        return pl.DataFrame(rows, schema=schema, orient="row")
