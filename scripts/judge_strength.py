"""Compare the main result of each task under judges of several sizes and a leaked one."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from infalign.presentation.curves import Resampling
from infalign.records.command import run_command
from infalign.records.config import Config, read_config, read_study_block
from infalign.records.tables import read_manifest, read_table, write_table
from infalign.studies.judge_strength.block import JudgeStrength
from infalign.studies.judge_strength.sizes import (
    GOLD,
    OWN_JUDGE,
    REWARD_MODEL,
    compared_policies,
    score_tables,
    sized_judges,
)
from infalign.studies.judge_strength.tables import policy_table, prompt_judgements, strength_table


def judge_strength(run: Path, /, *, tasks: Path) -> None:
    """Write judge_strength.parquet, judge_policies.parquet and prompt_judges.parquet into the run's folder.

    Parameters
    ----------
    run : folder of the run, with its configuration and what each judge scored.
    tasks : folder of the shared results.
    """
    config = read_config(run / "config.json")
    block = read_study_block(run / "config.json", "judge_strength", JudgeStrength)
    by_prompt, outcomes, sizes = [], {}, {}
    for task in block.tasks:
        tables = {
            name: read_table(tasks / path, ["prompt_id", "sample_id", "reward"], also=["gold", "kl"])
            for name, path in score_tables(config, task).items()
        }
        judged = {GOLD: gold_scores(tables)}
        for judge, path in judge_files(block, config, task, run):
            judged[judge] = read_table(path)
            outcomes[task, judge] = read_table(path.with_suffix(".pairs.parquet"))
            sizes[task, judge] = read_manifest(path)["n_parameters"]
        policies = pl.DataFrame([policy.row() for policy in compared_policies(config, task)])
        procedures = list(dict.fromkeys(["none", config.goals[task].procedure]))
        by_prompt.append(prompt_judgements(task, policies, tables, judged, procedures))
    prompts = pl.concat(by_prompt)
    evaluation = config.evaluation
    resampling = Resampling(evaluation.level, evaluation.resamples, evaluation.seed)
    goals = {task: goal.transform for task, goal in config.goals.items()}
    strengths = strength_table(prompts, outcomes, sizes, goals, resampling=resampling)
    write_table(prompts, run / "prompt_judges.parquet", {"run": config.run})
    write_table(strengths, run / "judge_strength.parquet", {"level": evaluation.level})
    write_table(
        policy_table(prompts, resampling=resampling),
        run / "judge_policies.parquet",
        {"level": evaluation.level},
    )


def judge_files(block: JudgeStrength, config: Config, task: str, run: Path) -> Iterator[tuple[str, Path]]:
    """Judges of a task with the tables that they scored."""
    for judge in (*sized_judges(block, config, task), OWN_JUDGE, REWARD_MODEL):
        yield judge, run / "judge_strength" / f"{task}-{judge}.parquet"


def gold_scores(tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """The gold reward of every response in the form of a judge's scores; null where the corpus has none."""
    keys = ["prompt_id", "sample_id"]
    parts = [
        table.select(pl.lit(name).alias("policy"), *keys, score="gold") for name, table in tables.items()
    ]
    return pl.concat(parts)


if __name__ == "__main__":
    run_command(judge_strength)
