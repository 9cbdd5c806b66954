"""Multiple-choice questions with a known answer (MMLU-Pro, GPQA): read, lettered, and cut into two groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from infalign.errors import InputError
from infalign.language.corpora import PAIR_COLUMNS, Corpus
from infalign.language.sources import group_at, hub_dataset, position, prompt_id
from infalign.records.corpus import QUESTION_DATASETS
from infalign.records.tables import read_table

LETTERS = "ABCDEFGHIJ"
SHARES = {"train": 0.5, "evaluation": 0.5}
"""Shares of the questions, by a hash of their text; options that differ do not make another question."""
PARTS = ("validation", "test")  # of MMLU-Pro
GPQA_OPTIONS = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
PROMPT_COLUMNS = dict.fromkeys(("prompt_id", "prompt", "split", "answer"), pl.String)


class Question(NamedTuple):
    """A question, its options in the order in which they are lettered, and the place of the right one."""

    text: str | None
    options: list[str | None]
    right: int


def read_questions(
    name: str,
    *,
    template: str,
    data_root: str | Path | None = None,
    revision: str = "main",
    seed: int = 0,
) -> tuple[Corpus, dict[str, int]]:
    """Read the questions of a benchmark as prompts with lettered options.

    All parts of the data set are pooled and cut anew: what the benchmark calls train or test says nothing here.

    Parameters
    ----------
    name : mmlu_pro, gpqa_main, gpqa_extended or gpqa_diamond.
    template : text of a prompt, with {question} where the question and its options go.
    data_root : folder with `MMLU-Pro` (the hub's Parquet files test-*.parquet and validation-*.parquet, at any
        depth) or `gpqa` (its CSV files, such as gpqa_diamond.csv); None reads TIGER-Lab/MMLU-Pro or
        Idavidrein/gpqa from the hub.
    revision : hub revision, unused with `data_root`.
    seed : of the cut, and of the order of GPQA's options, in whose files the right one stands first.

    Returns
    -------
    corpus : `prompts` has the further column `answer`, the right letter; the other tables have no rows.
    counts : questions read, and dropped as incomplete (no text, or an option without), ambiguous (another option
        has the right one's text) or repeated (the same prompt); prompts of each split.

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
    rows: dict[str, tuple[str, str, str, str]] = {}
    for text, options, right in _usable(questions, counts):
        prompt = template.replace("{question}", lettered(text, options))
        if prompt in rows:
            counts["repeated"] += 1
            continue
        split = group_at(position(text, seed), SHARES)
        rows[prompt] = (prompt_id(prompt), prompt, split, LETTERS[right])
    prompts = pl.DataFrame([*rows.values()], schema=PROMPT_COLUMNS, orient="row")
    sizes = {f"prompts_{split}": prompts.filter(split=split).height for split in SHARES}
    demonstrations = pl.DataFrame(schema=dict.fromkeys(("prompt", "response"), pl.String))
    corpus = Corpus(demonstrations=demonstrations, pairs=pl.DataFrame(schema=PAIR_COLUMNS), prompts=prompts)
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
    for part in PARTS:
        for frame, where in _parts_of_mmlu_pro(part, data_root, revision):
            rows = _checked(frame, columns, where).iter_rows()
            for number, (text, options, answer) in enumerate(rows):
                options = options or []
                letters = LETTERS[: len(options)]
                if len(options) > len(LETTERS) or answer not in [*letters]:
                    raise InputError(
                        f"{where}: row {number} has {len(options)} options and the answer {answer!r}; needed are "
                        f"at most {len(LETTERS)} options and the letter of one of them: correct or remove the row"
                    )
                yield Question(text, options, letters.index(answer))


def _parts_of_mmlu_pro(
    part: str, data_root: Path | None, revision: str
) -> Iterator[tuple[pl.DataFrame, str]]:
    """Tables of one part, with where they come from."""
    dataset, _ = QUESTION_DATASETS["mmlu_pro"]
    if data_root is None:
        yield hub_dataset(dataset, revision, split=part).to_polars(), f"{dataset}, {part}"
        return
    folder = data_root / dataset.partition("/")[2]
    files = sorted(folder.glob(f"**/{part}-*.parquet"))
    if not files:
        raise InputError(
            f"{folder}: no {part}-*.parquet; data_root must hold the files of {dataset} as the hub has them "
            "(snakemake --config data_root=DIR)"
        )
    for path in files:
        yield read_table(path), str(path)


def _gpqa(name: str, data_root: Path | None, revision: str, seed: int) -> Iterator[Question]:
    """Questions with their options in the order of a hash of question and option."""
    dataset, file = QUESTION_DATASETS[name]
    if data_root is None:
        where = f"{dataset}, {file}"
        frame = hub_dataset(dataset, revision, data_files=file, split="train").to_polars()
    else:
        where = str(data_root / dataset.partition("/")[2] / file)
        frame = _read_csv(Path(where))
    columns = dict.fromkeys(("Question", *GPQA_OPTIONS), pl.String)
    for text, *options in _checked(frame, columns, where).iter_rows():
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


def _checked(frame: pl.DataFrame, columns: dict, where: str) -> pl.DataFrame:
    """The columns asked for; InputError unless all are there with their types."""
    wrong = [name for name, kind in columns.items() if frame.schema.get(name) != kind]
    if wrong:
        raise InputError(
            f"{where}: no column {', '.join(f'{name} ({columns[name]})' for name in wrong)}; it has "
            f"{', '.join(frame.columns)}: rename them or take the data set that the configuration names"
        )
    return frame.select(*columns)
