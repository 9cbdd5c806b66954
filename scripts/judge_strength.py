"""Compare the main result of each task under judges of several sizes and a leaked one."""

from pathlib import Path

import polars as pl

from infalign.records.command import run_command
from infalign.records.config import read_config, read_study_block
from infalign.records.tables import read_manifest, read_table, write_table
from infalign.studies.judge_strength.block import JudgeStrength
from infalign.studies.judge_strength.sizes import judge_folders, score_tables
from infalign.studies.judge_strength.tables import policy_table, strength_table, task_judgements


def judge_strength(run: Path, /, *, tasks: Path) -> None:
    """Write judge_strength.parquet, judge_policies.parquet and prompt_judges.parquet into the run's folder.

    Parameters
    ----------
    run : folder of the run, with its configuration and what each judge scored.
    tasks : folder of the shared results.
    """
    config = read_config(run / "config.json")
    block = read_study_block(run / "config.json", "judge_strength", JudgeStrength)
    parts, outcomes, sizes = [], {}, {}
    for task in block.tasks:
        tables = {
            name: read_table(
                tasks.parent / f"{path}.parquet", ["prompt_id", "sample_id", "reward"], also=["gold", "kl"]
            )
            for name, path in score_tables(config, task).items()
        }
        judged = {}
        for judge in judge_folders(block, config, task):
            path = run / "judge_strength" / f"{task}-{judge}.parquet"
            judged[judge] = read_table(path)
            outcomes[task, judge] = read_table(path.with_suffix(".pairs.parquet"))
            sizes[task, judge] = read_manifest(path)["n_parameters"]
        parts.append(task_judgements(config, task, tables, judged))
    by_prompt, evaluation = pl.concat(parts), config.evaluation
    bootstrap = evaluation.bootstrap
    transforms = {task: goal.transform for task, goal in config.goals.items()}
    strengths = strength_table(by_prompt, outcomes, sizes, transforms, bootstrap=bootstrap)
    write_table(by_prompt, run / "prompt_judges.parquet", {"run": config.run})
    write_table(strengths, run / "judge_strength.parquet", {"level": evaluation.level})
    by_policy = policy_table(by_prompt, bootstrap=bootstrap)
    write_table(by_policy, run / "judge_policies.parquet", {"level": evaluation.level})


if __name__ == "__main__":
    run_command(judge_strength)
