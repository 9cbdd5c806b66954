"""The tables of a corpus: demonstrations, preference pairs or labels, and prompts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import polars as pl

from infalign.language.sources import prompt_id

LEARNING_SPLITS = ("reward_train", "reward_test", "judge_train", "judge_test")
PAIR_COLUMNS = dict.fromkeys(("prompt", "chosen", "rejected", "rejected_prompt", "split"), pl.String)
LABEL_COLUMNS = {"prompt": pl.String, "response": pl.String, "label": pl.Float64, "split": pl.String}


@dataclass(frozen=True)
class Corpus:
    """Tables of one task.

    Attributes
    ----------
    demonstrations : polars.DataFrame
        Columns `prompt`, `response`.
    pairs : polars.DataFrame
        Columns `prompt`, `chosen`, `rejected`, `rejected_prompt` (the prompt that the rejected response answers;
        mostly the same), `split`: reward_train, reward_test, judge_train or judge_test. Has rows unless `labels` has.
    prompts : polars.DataFrame
        Columns `prompt_id`, `prompt`, `split`: train, evaluation or evaluation_out.
    labels : polars.DataFrame
        Columns `prompt`, `response`, `label` (1.0 positive, 0.0 negative), `split` as in pairs.
    """

    demonstrations: pl.DataFrame
    pairs: pl.DataFrame
    prompts: pl.DataFrame
    labels: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=LABEL_COLUMNS))


def text_table(columns: Sequence[str], rows: Iterable[Sequence[str]] = ()) -> pl.DataFrame:
    """Table of text columns, from its rows."""
    return pl.DataFrame(list(rows), schema=dict.fromkeys(columns, pl.String), orient="row")


def prompts_table(rows: Iterable[Sequence[str]], further: Sequence[str] = (), *, id_digits: int = 16) -> pl.DataFrame:
    """Table of prompts with their ids, from rows (prompt, split, values of the further columns).

    Examples
    --------
    >>> prompts_table([("Hi", "train", "B")], ["answer"]).row(0)
    ('3639efcd08abb273', 'Hi', 'train', 'B')
    """
    ids = ((prompt_id(row[0], id_digits), *row) for row in rows)
    return text_table(("prompt_id", "prompt", "split", *further), ids)
