"""Film reviews with a sentiment (IMDB): read, split into prompt and response, and cut into disjoint groups."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import polars as pl

from infalign.errors import InputError
from infalign.language.corpora import (
    LABEL_COLUMNS,
    LEARNING_SPLITS,
    PAIR_COLUMNS,
    Corpus,
    prompts_table,
    text_table,
)
from infalign.language.sources import group_at, hub_dataset, json_lines, numbered_rows, position

HUB_DATASET = "stanfordnlp/imdb"
FILES = {"train": "train.jsonl.gz", "unsupervised": "unsup.jsonl.gz"}
BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
SHARES = {"train": 0.22, "evaluation": 0.04, "reward_train": 0.34, "reward_test": 0.03}
SHARES |= {"judge_train": 0.34, "judge_test": 0.03}
"""Shares of the labelled reviews: prompts of training and of evaluation, and the reviews that the reward
model and the judge learn from and are tested on. Demonstrations are the reviews without a label."""


class Review(NamedTuple):
    """A review cut in two; `place`, on the unit interval, is drawn from its text."""

    place: float
    prompt: str
    response: str
    label: float | None


def read_reviews(
    *,
    data_root: str | Path | None = None,
    revision: str = "main",
    seed: int = 0,
    prompt_words: tuple[int, int] = (2, 8),
    max_characters: int | None = None,
) -> tuple[Corpus, dict[str, int]]:
    """Read IMDB's labelled and unlabelled reviews.

    Line breaks of HTML become a blank, and runs of white space one. The prompt of a review is its first few
    words, its response the rest with the blank before it.

    Parameters
    ----------
    data_root : str or Path, optional
        Folder with `train.jsonl.gz` (text and label: 0 negative, 1 positive) and `unsup.jsonl.gz` (text). Default:
        the parts train and unsupervised of stanfordnlp/imdb from the hub.
    seed : int
        Of the cut and of the lengths of prompts; both come from a review's own text, whatever other rows the data has.
    prompt_words : tuple of int
        Fewest and most words of a prompt; all lengths are equally likely.
    max_characters : int, optional
        Of a response; what follows is left away from the last blank before it. Default: all.

    Returns
    -------
    corpus : Corpus
        Demonstrations from the unlabelled reviews; labels and prompts from the groups of the labelled ones
        (`SHARES`); pairs has no rows. No prompt of training is one of evaluation. Rows are in the order of a hash
        of their reviews.
    counts : dict of str to int
        For labelled and unlabelled: rows read, dropped as duplicates (of any review read before, by text) and as
        too_short (no word is left for the response); rows of each table and group.

    Raises
    ------
    InputError
        Folder or files missing or unreadable; a row without text or with another label than 0 or 1.

    References
    ----------
    Maas et al. 2011, Learning word vectors for sentiment analysis.
    Amini et al. 2025, Variational best-of-N alignment, section 5: prompts of 2 to 8 words.
    """
    counts: dict[str, int] = {}
    seen: set[str] = set()
    reviews = {}
    parts = _parts(None if data_root is None else Path(data_root), revision)
    for part, kind in (("train", "labelled"), ("unsupervised", "unlabelled")):
        rows = (_row(row, place, labelled=kind == "labelled") for place, row in parts[part])
        kept, tally = _split_reviews(rows, seen, seed, prompt_words, max_characters)
        reviews[kind] = sorted(kept, key=lambda review: review.place)
        counts |= {f"{kind}_{name}": number for name, number in tally.items()}
    corpus = _corpus(reviews["labelled"], reviews["unlabelled"])
    return corpus, counts | _sizes(corpus)


def _split_reviews(
    rows: Iterable[tuple[str, float | None]],
    seen: set[str],
    seed: int,
    prompt_words: tuple[int, int],
    max_characters: int | None,
) -> tuple[list[Review], Counter[str]]:
    """Split texts that were not seen before; add them to `seen` and count what is dropped."""
    tally = Counter(dict.fromkeys(("read", "duplicates", "too_short"), 0))
    kept = []
    fewest, most = prompt_words
    for raw, label in rows:
        tally["read"] += 1
        text = plain_text(raw)
        if text in seen:
            tally["duplicates"] += 1
            continue
        seen.add(text)
        place = position(text, seed)
        n_words = fewest + int(position(f"words\0{text}", seed) * (most - fewest + 1))
        prompt, response = split_review(text, n_words)
        if not response:
            tally["too_short"] += 1
            continue
        kept.append(Review(place, prompt, _beginning(response, max_characters), label))
    return kept, tally


def plain_text(text: str) -> str:
    """Turn HTML breaks into blanks, and runs of white space into one.

    Examples
    --------
    >>> plain_text("Dull.<br /><br />Very dull. ")
    'Dull. Very dull.'
    """
    return " ".join(BREAK.sub(" ", text).split())


def split_review(text: str, n_words: int) -> tuple[str, str]:
    """Split a text after its first words; the response begins with a blank and is empty if no word is left.

    Examples
    --------
    >>> split_review("A film to see.", 2)
    ('A film', ' to see.')
    """
    words = text.split(" ", n_words)
    prompt = " ".join(words[:n_words])
    return prompt, text[len(prompt) :]


def _beginning(response: str, max_characters: int | None) -> str:
    if max_characters is None or len(response) <= max_characters:
        return response
    return response[:max_characters].rpartition(" ")[0]


def _corpus(labelled: list[Review], unlabelled: list[Review]) -> Corpus:
    groups: dict[str, list[Review]] = {group: [] for group in SHARES}
    for review in labelled:
        groups[group_at(review.place, SHARES)].append(review)
    prompts = {review.prompt: split for split in ("train", "evaluation") for review in groups[split]}
    labels = [(*review[1:], group) for group in LEARNING_SPLITS for review in groups[group]]
    return Corpus(
        demonstrations=text_table(("prompt", "response"), [review[1:3] for review in unlabelled]),
        pairs=text_table([*PAIR_COLUMNS]),
        prompts=prompts_table(prompts.items()),
        labels=pl.DataFrame(labels, schema=LABEL_COLUMNS, orient="row"),
    )


def _sizes(corpus: Corpus) -> dict[str, int]:
    """Rows of each table and group."""
    tables = {"prompts": ("train", "evaluation"), "labels": LEARNING_SPLITS}
    sizes = {"demonstrations": corpus.demonstrations.height}
    for table, groups in tables.items():
        sizes |= {f"{table}_{group}": getattr(corpus, table).filter(split=group).height for group in groups}
    return sizes


def _parts(data_root: Path | None, revision: str) -> dict[str, Iterator[tuple[str, object]]]:
    """Rows of each part with the place where they stand."""
    if data_root is None:
        dataset = hub_dataset(HUB_DATASET, revision)
        for part in FILES:
            if part not in dataset:
                raise InputError(f"{HUB_DATASET} has no part {part}, only {', '.join(dataset)}; check the revision")
        return {part: numbered_rows(HUB_DATASET, part, dataset[part]) for part in FILES}
    missing = [str(data_root / name) for name in FILES.values() if not (data_root / name).is_file()]
    if missing:
        raise InputError(
            f"data_root: no such file: {', '.join(missing)}; the folder must hold {' and '.join(FILES.values())} "
            "(snakemake --config data_root=DIR)"
        )
    return {part: json_lines(data_root / name) for part, name in FILES.items()}


def _row(row: object, place: str, *, labelled: bool) -> tuple[str, float | None]:
    values = row if isinstance(row, dict) else {}
    text, label = values.get("text"), values.get("label")
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{place} needs the text of a review as `text`, got {_got(row, 'text')}; correct or remove it")
    if not labelled:
        return text, None
    if label not in (0, 1):
        raise InputError(
            f"{place} needs a `label`, 0 (negative) or 1 (positive), got {_got(row, 'label')}; correct or remove it"
        )
    return text, float(label)


def _got(row: object, key: str) -> str:
    if not isinstance(row, dict):
        return f"a {type(row).__name__}"
    return repr(row[key]) if key in row else f"columns {', '.join(row)}"
