"""Measure the policies whose responses a language model compared with the reference's."""

from pathlib import Path

import polars as pl

from infalign.records.command import run_command
from infalign.records.config import read_config, read_study_block, task_folder
from infalign.records.metrics import METRICS_SCHEMA, PROMPT_SCHEMA, main_condition
from infalign.records.sweep import conditions, policy_folder, policy_sets
from infalign.records.tables import read_table, write_table
from infalign.studies.language_judge.block import LanguageJudge
from infalign.studies.language_judge.judgements import READ, judged_metrics, judged_policies

COLUMNS = ["prompt_id", "sample_id", "reward", "judge", "n_tokens"]


def evaluate_by_language_judge(
    config: Path, /, *, metrics: Path, judgements: Path, tasks: Path, out: Path, prompts_out: Path
) -> None:
    """Write win rates by the language model under each task's main condition.

    Parameters
    ----------
    config : the run's recorded configuration.
    metrics : of the run, for what does not depend on the judge.
    judgements : verdicts of the language model.
    tasks : folder of the shared results.
    out : table of metrics to write.
    prompts_out : table of win rates and KL by prompt to write.
    """
    run = read_config(config)
    measured, judged = main_condition(read_table(metrics), run), read_table(judgements, READ)
    rows, prompt_rows = [], []
    for policy in judged_policies(read_study_block(config, "judge", LanguageJudge), run):
        task = run.tasks[policy.task]
        paths = [
            tasks / policy_folder(run, policy) / "scores" / f"{next(iter(policy_sets(task)))}.parquet",
            tasks / task_folder(run, policy.task) / "scores" / f"{conditions(task)[0].name}.parquet",
        ]
        scores, reference = (
            read_table(paths[0], [*COLUMNS, "kl"], also=()),
            read_table(paths[1], COLUMNS, also=()),
        )
        key = {"task": policy.task, "policy": policy.slug}
        first = measured.filter(**key).row(0, named=True)
        more, more_prompts = judged_metrics(judged.filter(**key), first, scores, reference, run.evaluation)
        rows += more
        prompt_rows += more_prompts
    write_table(pl.DataFrame(rows, schema=METRICS_SCHEMA), out, {"run": run.run})
    write_table(pl.DataFrame(prompt_rows, schema=PROMPT_SCHEMA), prompts_out, {"run": run.run})


if __name__ == "__main__":
    run_command(evaluate_by_language_judge)
