"""Ask a language model which of two responses is better, for pairs of a policy's and the reference's."""

from pathlib import Path

import polars as pl

from infalign.records.command import run_command
from infalign.records.config import read_config, read_study_block
from infalign.records.tables import write_table
from infalign.studies.language_judge.asking import ReplyCache, ask
from infalign.studies.language_judge.block import LanguageJudge, read_judge_prompt
from infalign.studies.language_judge.questions import questions_and_verdicts, read_verdicts


def ask_judge(config: Path, /, *, tasks: Path, cache: Path, out: Path, model: Path | None = None) -> None:
    """Write the verdicts of the language model, of the trained judge and of the gold reward on the same pairs.

    Parameters
    ----------
    config : the run's recorded configuration, with its block `judge`.
    tasks : folder of the shared results.
    cache : file in which replies are kept, so that no question is asked twice.
    out : table to write.
    model : folder of the judge that the run has trained; default: the model that the configuration names.
    """
    judge = read_study_block(config, "judge", LanguageJudge)
    judge = judge if model is None else judge.model_copy(update={"model": str(model)})
    prompt = read_judge_prompt(judge.prompt)
    questions, scored = questions_and_verdicts(read_config(config), judge, prompt, tasks.parent)
    with ReplyCache(cache) as known:
        replies = ask(judge, questions["text"].to_list(), known)
    judged = read_verdicts(judge, questions, replies)
    facts = {"judge": judge.model_dump(), "prompt_sha256": prompt.sha256, "questions": len(replies)}
    facts |= {"replies": judged.height, "unparsed": judged.filter(verdict="unparsed").height}
    write_table(pl.concat([judged, scored]), out, facts)


if __name__ == "__main__":
    run_command(ask_judge)
