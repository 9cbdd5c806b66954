"""Count a language model's verdicts, and compare them with those of the trained judge and the gold reward."""

from dataclasses import asdict
from pathlib import Path

from infalign.records.block import parse_block
from infalign.records.command import run_command
from infalign.records.config import Evaluation
from infalign.records.tables import read_table, write_table, write_text
from infalign.studies.language_judge.page import verdicts_html
from infalign.studies.language_judge.pairs import READ
from infalign.studies.language_judge.tables import agreement_table, verdict_table


def judge_agreement(judgements: Path, /, *, evaluation: str, verdicts: Path, html: Path, out: Path) -> None:
    """Write the counts of verdicts, and the judges' agreement.

    Parameters
    ----------
    judgements : verdicts of all judges on the same pairs.
    evaluation : JSON of the configuration's block `evaluation`: level, resamples and seed of the intervals.
    verdicts : table of counts to write.
    html : the same for reading, to write.
    out : table of agreement to write.
    """
    settings = parse_block(Evaluation, evaluation)
    bootstrap = settings.bootstrap
    table = read_table(judgements, READ)
    counts = verdict_table(table, bootstrap)
    write_table(counts, verdicts, asdict(bootstrap))
    write_text(verdicts_html(counts), html)
    write_table(agreement_table(table, bootstrap), out, asdict(bootstrap))


if __name__ == "__main__":
    run_command(judge_agreement)
