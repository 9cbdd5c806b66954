"""Multiple-choice questions with a known answer (MMLU-Pro, GPQA): read, lettered, and cut into two groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import polars as pl

from infalign.errors import InputError
from infalign.language.corpora import PAIR_COLUMNS, Corpus, prompts_table, text_table
from infalign.language.sources import group_at, hub_dataset, hub_parquet, position, typed_columns
from infalign.records.corpus import QUESTION_DATASETS

LETTERS = "ABCDEFGHIJ"
SHARES = {"train": 0.5, "evaluation": 0.5}
"""Shares of the questions, by a hash of their text; options that differ do not make another question."""
PARTS = ("validation", "test")  # of MMLU-Pro
GPQA_OPTIONS = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")


class Question(NamedTuple):
    """A question, its options in the order in which they are lettered, and the place of the right one."""

    text: str | None
    options: list[str | None]
    right: int


def read_questions(
    name: str, *, template: str, data_root: str | Path | None = None, revision: str = "main", seed: int = 0
) -> tuple[Corpus, dict[str, int]]:
    """Read the questions of a benchmark as prompts with lettered options.

    All parts of the data set are pooled and cut anew: what the benchmark calls train or test says nothing here.

    Parameters
    ----------
    name : str
        mmlu_pro, gpqa_main, gpqa_extended or gpqa_diamond.
    template : str
        Text of a prompt, with {question} where the question and its options go.
    data_root : str or Path, optional
        Folder with `MMLU-Pro` (the hub's Parquet files test-*.parquet and validation-*.parquet, at any depth) or
        `gpqa` (its CSV files, such as gpqa_diamond.csv). Default: TIGER-Lab/MMLU-Pro or Idavidrein/gpqa from the hub.
    seed : int
        Of the cut, and of the order of GPQA's options, in whose files the right one stands first.

    Returns
    -------
    corpus : Corpus
        `prompts` has the further column `answer`, the right letter; the other tables have no rows.
    counts : dict of str to int
        Questions read, and dropped as incomplete (no text, or an option without), ambiguous (another option has the
        right one's text) or repeated (the same prompt); prompts of each split.

    Raises
    ------
    InputError
        Folder or files missing or unreadable; a column missing; a question whose answer is none of its options.

    References
    ----------
    Wang et al. 2024, MMLU-Pro: a more robust and challenging multi-task language understanding benchmark.
    Rein et al. 2023, GPQA: a graduate-level Google-proof Q&A benchmark.
    """
    root = None if data_root is None else Path(data_root)
    questions = _mmlu_pro(root, revision) if name == "mmlu_pro" else _gpqa(name, root, revision, seed)
    counts = Counter(dict.fromkeys(("read", "incomplete", "ambiguous", "repeated"), 0))
    rows: dict[str, tuple[str, str]] = {}
    for text, options, right in _usable(questions, counts):
        prompt = template.replace("{question}", lettered(text, options))
        counts["repeated"] += prompt in rows
        rows.setdefault(prompt, (group_at(position(text, seed), SHARES), LETTERS[right]))
    prompts = prompts_table(((prompt, *row) for prompt, row in rows.items()), ["answer"])
    sizes = {f"prompts_{split}": prompts.filter(split=split).height for split in SHARES}
    corpus = Corpus(text_table(("prompt", "response")), text_table([*PAIR_COLUMNS]), prompts)
    return corpus, {**counts, **sizes}


def lettered(question: str, options: Sequence[str]) -> str:
    """Write a question with its options under it.

    Examples
    --------
    >>> print(lettered("Which is a metal?", ["Tea", "Tin"]))
    Which is a metal?
    A. Tea
    B. Tin
    """
    lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return "\n".join([question, *lines])


def _usable(questions: Iterable[Question], counts: Counter[str]) -> Iterator[tuple[str, list[str], int]]:
    """Questions with surrounding blanks taken off their texts; what cannot be asked is counted and left out."""
    for question in questions:
        counts["read"] += 1
        text = (question.text or "").strip()
        options = [(option or "").strip() for option in question.options]
        if not text or not all(options):
            counts["incomplete"] += 1
        elif options.count(options[question.right]) > 1:
            counts["ambiguous"] += 1
        else:
            yield text, options, question.right


def _mmlu_pro(data_root: Path | None, revision: str) -> Iterator[Question]:
    columns = {"question": pl.String, "options": pl.List(pl.String), "answer": pl.String}
    dataset, _ = QUESTION_DATASETS["mmlu_pro"]
    for frame, place in chain.from_iterable(hub_parquet(dataset, part, data_root, revision) for part in PARTS):
        for number, (text, options, answer) in enumerate(typed_columns(frame, columns, place).iter_rows()):
            options = options or []
            letters = LETTERS[: len(options)]
            if len(options) > len(LETTERS) or answer not in [*letters]:
                raise InputError(
                    f"{place}: row {number} has {len(options)} options and the answer {answer!r}; needed are "
                    f"at most {len(LETTERS)} options and the letter of one of them: correct or remove the row"
                )
            yield Question(text, options, letters.index(answer))


def _gpqa(name: str, data_root: Path | None, revision: str, seed: int) -> Iterator[Question]:
    """Questions with their options in the order of a hash of question and option."""
    dataset, file = QUESTION_DATASETS[name]
    if data_root is None:
        place = f"{dataset}, {file}"
        frame = hub_dataset(dataset, revision, data_files=file, split="train").to_polars()
    else:
        place = str(data_root / dataset.partition("/")[2] / file)
        frame = _read_csv(Path(place))
    columns = dict.fromkeys(("Question", *GPQA_OPTIONS), pl.String)
    for text, *options in typed_columns(frame, columns, place).iter_rows():
        order = sorted(range(len(options)), key=lambda i: position(f"{text}\0{options[i]}", seed))
        yield Question(text, [options[i] for i in order], order.index(0))


def _read_csv(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise InputError(
            f"{path}: no such file; data_root must hold the files of Idavidrein/gpqa as the hub has them "
            "(snakemake --config data_root=DIR)"
        )
    try:
        return pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path}: not readable as CSV: {error}; fetch it again") from error
