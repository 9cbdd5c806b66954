"""The questions about pairs of responses, and their replies as verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import polars as pl

from infalign.records.config import Config
from infalign.records.responses import main_scores, policy_scores, shared
from infalign.records.tables import read_table
from infalign.studies.language_judge.asking import Choice, Reply, parse_reply, question_hash
from infalign.studies.language_judge.block import JudgePrompt, LanguageJudge, principle
from infalign.studies.language_judge.pairs import (
    JUDGEMENT_SCHEMA,
    LANGUAGE_MODEL,
    ORDERS,
    judged_cases,
    response_pairs,
    scored_verdicts,
)

COLUMNS = ["prompt_id", "sample_id", "response", "reward", "judge", "n_tokens"]


def questions_and_verdicts(
    config: Config, judge: LanguageJudge, prompt: JudgePrompt, results: Path
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Pick the pairs of every judged policy, under the main condition of its task, from the folder of all results.

    Returns
    -------
    DataFrame
        The questions about the pairs, as in `question_table`.
    DataFrame
        What the trained judge and gold say of the same pairs, as in `scored_verdicts`.
    """
    questions, scored = [], []
    for policy, procedure in judged_cases(judge, config):
        names = policy_scores(config, policy), main_scores(config, policy.task)
        ours, theirs = (read_table(results / f"{name}.parquet", COLUMNS, also=["gold"]) for name in names)
        pairs = response_pairs(ours, theirs, procedure, judge.n_pairs, judge.n_prompts)
        path = results / shared(config, policy.task, "data/prompts.parquet")
        texts = read_table(path, ["prompt_id", "prompt"]).select("prompt_id", "prompt")
        pairs = pairs.join(texts, on="prompt_id", how="left", maintain_order="left")
        case = {"task": policy.task, "policy": policy.slug, "procedure": procedure}
        measure = principle(judge, policy.task, config.tasks[policy.task].corpus)
        assert measure is not None  # checked with the configuration
        questions.append(question_table(pairs, case, partial(prompt.ask, measure)))
        scored.append(scored_verdicts(pairs, case))
    return pl.concat(questions), pl.concat(scored)


def question_table(pairs: pl.DataFrame, case: Mapping[str, str], write: Callable[[str, str, str], str]) -> pl.DataFrame:
    """Write the questions about pairs of responses, each pair in both orders.

    Parameters
    ----------
    pairs : DataFrame
        prompt_id, pair, sample_id, reference_sample_id, prompt, response, reference_response.
    case : mapping of str to str
        Task, policy and procedure.
    write : callable
        The question from prompt, first and second response.

    Returns
    -------
    DataFrame
        The case, the first four columns, `order` and `text`; two rows a pair.
    """
    rows = []
    for row in pairs.iter_rows(named=True):
        key = {name: row[name] for name in ("prompt_id", "pair", "sample_id", "reference_sample_id")}
        both = row["response"], row["reference_response"]
        for order, texts in zip(ORDERS, (both, both[::-1]), strict=True):
            rows.append({**case, **key, "order": order, "text": write(row["prompt"], *texts)})
    return pl.DataFrame(rows)


def read_verdicts(judge: LanguageJudge, questions: pl.DataFrame, replies: Mapping[str, Reply]) -> pl.DataFrame:
    """Read the replies as verdicts on the policy's responses.

    `questions` are those of `question_table`, `replies` those of `ask`. Columns JUDGEMENT_SCHEMA, in the order of the
    questions.
    """
    keys = [question_hash(judge, text) for text in questions["text"]]
    given = [replies[key] for key in keys]
    orders = questions["order"]
    columns = {
        "question": keys,
        "reply": [reply.text for reply in given],
        "finish": [reply.finish for reply in given],
        "verdict": [_verdict(parse_reply(reply), order) for reply, order in zip(given, orders, strict=True)],
    }
    added = [pl.Series(name, values, pl.String) for name, values in columns.items()]
    whole = questions.with_columns(*added, scorer=pl.lit(LANGUAGE_MODEL))
    return whole.select(pl.col(name).cast(kind) for name, kind in JUDGEMENT_SCHEMA.items())


def _verdict(choice: Choice, order: str) -> str:
    """What the choice of a place says of the policy's response."""
    if choice in ("tie", "unparsed"):
        return choice
    return "win" if (choice == "first") == (order == ORDERS[0]) else "loss"
