"""Measure the policies whose responses a language model compared with the reference's."""

from pathlib import Path

import polars as pl

from infalign.records.command import run_command
from infalign.records.config import read_config, read_study_block
from infalign.records.metrics import METRICS_SCHEMA, PROMPT_SCHEMA, main_condition
from infalign.records.responses import main_scores, policy_scores
from infalign.records.tables import read_table, write_table
from infalign.studies.language_judge.block import LanguageJudge
from infalign.studies.language_judge.pairs import READ, judged_policies
from infalign.studies.language_judge.tables import judged_metrics

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
    evaluation, results = run.evaluation, tasks.parent
    bootstrap = evaluation.bootstrap
    measured, judged = main_condition(read_table(metrics), run), read_table(judgements, READ)
    rows, prompt_rows = [], []
    for policy in judged_policies(read_study_block(config, "judge", LanguageJudge), run):
        key = {"task": policy.task, "policy": policy.slug}
        more, more_prompts = judged_metrics(
            judged.filter(**key),
            measured.filter(**key).row(0, named=True),
            read_table(results / f"{policy_scores(run, policy)}.parquet", [*COLUMNS, "kl"], also=()),
            read_table(results / f"{main_scores(run, policy.task)}.parquet", COLUMNS, also=()),
            bootstrap,
        )
        rows += more
        prompt_rows += more_prompts
    write_table(pl.DataFrame(rows, schema=METRICS_SCHEMA), out, {"run": run.run})
    write_table(pl.DataFrame(prompt_rows, schema=PROMPT_SCHEMA), prompts_out, {"run": run.run})


if __name__ == "__main__":
    run_command(evaluate_by_language_judge)
