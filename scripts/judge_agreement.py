"""Count a language model's verdicts, and compare them with those of the trained judge and the gold reward."""

from pathlib import Path

from infalign.records.block import parse_block
from infalign.records.command import run_command
from infalign.records.config import Evaluation
from infalign.records.tables import read_table, write_atomically, write_table
from infalign.studies.language_judge.judgements import READ, agreement_table, verdict_table
from infalign.studies.language_judge.page import verdicts_html


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
    table = read_table(judgements, READ)
    facts = {"level": settings.level, "resamples": settings.resamples, "seed": settings.seed}
    counts = verdict_table(table, settings)
    page = verdicts_html(counts)
    write_table(counts, verdicts, facts)
    write_atomically(html, lambda partial: partial.write_text(page, encoding="utf-8"))
    write_table(agreement_table(table, settings), out, facts)


if __name__ == "__main__":
    run_command(judge_agreement)
