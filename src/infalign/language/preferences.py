"""Anthropic HH dialogues: read, split into prompt and responses, and cut into disjoint groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import polars as pl

from infalign.errors import InputError
from infalign.language.corpora import LEARNING_SPLITS, Corpus, prompts_table, text_table
from infalign.language.sources import group_at, hub_dataset, json_lines, numbered_rows, position

HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
HUB_DATASET = "Anthropic/hh-rlhf"
SHARES = {"policy": 0.10, "evaluation": 0.10, "reward_train": 0.38, "reward_test": 0.07}
SHARES |= {"judge_train": 0.28, "judge_test": 0.07}
"""Shares of first human turns. The policy is also trained on the prompts and chosen responses of
reward_train; evaluation, both test groups and the judge's group share no first turn with any other."""
POLICY_GROUPS = ("policy", "reward_train")


def read_preferences(
    name: str, *, data_root: str | Path | None = None, revision: str = "main", seed: int = 0
) -> tuple[Corpus, dict[str, int]]:
    """Read one HH subset and cut it into disjoint groups by the first human turn.

    Demonstrations are every assistant turn of the policy groups' chosen dialogues; rejected_prompt is equal to prompt.
    The counts are rows read, dropped by reason, and kept in each group.

    Parameters
    ----------
    name : str
        Folder below `data_root`; from the hub helpful-base or harmless-base.
    data_root : str or Path, optional
        Folder with `<name>/*.jsonl.gz`. Default: Anthropic/hh-rlhf from the hub, at the revision.
    seed : int
        Of the cut; the same seed gives the same groups whatever other rows the data has.

    Raises
    ------
    InputError
        Folder or files missing, unreadable or empty; a row without chosen or rejected; no pair left.

    References
    ----------
    Bai et al. 2022, Training a Helpful and Harmless Assistant with RLHF.
    """
    rows = _local_rows(Path(data_root), name) if data_root is not None else _hub_rows(name, revision)
    pairs, counts = split_pairs(_row(row, place) for place, row in rows)
    if pairs.is_empty():
        raise InputError(
            f"{name}: no usable preference pair among {counts['read']} rows ({counts}); "
            "each row needs chosen and rejected dialogues with one prompt and different responses"
        )
    groups = [group_of(first_human_turn(prompt), seed) for prompt in pairs["prompt"]]
    pairs = pairs.with_columns(pl.Series("split", groups))
    sizes = pairs.group_by("split").len()
    counts |= {f"pairs_{group}": 0 for group in SHARES}
    counts |= {f"pairs_{group}": size for group, size in sizes.iter_rows()}
    return _corpus(pairs), counts


def _corpus(pairs: pl.DataFrame) -> Corpus:
    policy = pairs.filter(pl.col("split").is_in(POLICY_GROUPS))
    policy = policy.unique("prompt", keep="first", maintain_order=True)
    splits = dict.fromkeys(policy["prompt"], "train")
    splits = splits | {p: "evaluation" for p in pairs.filter(split="evaluation")["prompt"] if p not in splits}
    return Corpus(
        demonstrations=_assistant_turns(policy["prompt"].to_list(), policy["chosen"].to_list()),
        pairs=pairs.filter(pl.col("split").is_in(LEARNING_SPLITS)).select(
            "prompt", "chosen", "rejected", "split", rejected_prompt="prompt"
        ),
        prompts=prompts_table(splits.items()),
    )


def _assistant_turns(prompts: list[str], responses: list[str]) -> pl.DataFrame:
    """Every assistant turn of the dialogues with all that stands before it; no empty or repeated ones."""
    turns: dict[tuple[str, str], None] = {}
    for prompt, response in zip(prompts, responses, strict=True):
        pieces = (prompt + response).split(ASSISTANT)
        for i in range(1, len(pieces)):
            said = pieces[i].split(HUMAN)[0]
            if said.strip():
                turns[ASSISTANT.join(pieces[:i]) + ASSISTANT, said] = None
    return text_table(("prompt", "response"), turns)


def split_pairs(rows: Iterable[tuple[str, str]]) -> tuple[pl.DataFrame, dict[str, int]]:
    """Split dialogues into a common prompt and two responses; drop and count what is not a preference.

    Parameters
    ----------
    rows : iterable of (chosen, rejected)
        Full dialogues; the response is what follows the last "\\n\\nAssistant:".

    Returns
    -------
    pairs : polars.DataFrame
        Columns prompt, chosen, rejected, in the order read.
    counts : dict of str to int
        Read, kept, and dropped: malformed (no human or assistant turn), different_prompts, equal_responses,
        empty_response, duplicates (the same pair again).

    Examples
    --------
    >>> chosen = "\\n\\nHuman: Hi\\n\\nAssistant: Hello"
    >>> pairs, counts = split_pairs([(chosen, chosen + "!"), (chosen, chosen)])
    >>> pairs.row(0)
    ('\\n\\nHuman: Hi\\n\\nAssistant:', ' Hello', ' Hello!')
    >>> counts["equal_responses"]
    1
    """
    reasons = ("malformed", "different_prompts", "equal_responses", "empty_response", "duplicates")
    counts = Counter(dict.fromkeys(("read", *reasons, "kept"), 0))
    kept: dict[tuple[str, str, str], None] = {}
    for chosen, rejected in rows:
        prompt, good = _split_dialogue(chosen)
        other_prompt, bad = _split_dialogue(rejected)
        reason = _why_dropped(prompt, other_prompt, good, bad)
        if reason is None and (prompt, good, bad) in kept:
            reason = "duplicates"
        counts.update(["read", reason or "kept"])
        if reason is None:
            kept[prompt, good, bad] = None
    return text_table(("prompt", "chosen", "rejected"), kept), dict(counts)


def _split_dialogue(dialogue: str) -> tuple[str, str]:
    head, separator, response = dialogue.rpartition(ASSISTANT)
    return head + separator, response


def _why_dropped(prompt: str, other_prompt: str, good: str, bad: str) -> str | None:
    if not all(text.startswith(HUMAN) for text in (prompt, other_prompt)):
        return "malformed"
    if prompt != other_prompt:
        return "different_prompts"
    if good.strip() == bad.strip():
        return "equal_responses"
    return None if good.strip() and bad.strip() else "empty_response"


def first_human_turn(prompt: str) -> str:
    """Return a dialogue's first human turn, case and white space made equal.

    Examples
    --------
    >>> first_human_turn("\\n\\nHuman: What  IS it?\\n\\nAssistant: A cat.\\n\\nHuman: Why?\\n\\nAssistant:")
    'what is it?'
    """
    turn = prompt.removeprefix(HUMAN).split(ASSISTANT, 1)[0]
    return " ".join(turn.casefold().split())


def group_of(first_turn: str, seed: int) -> str:
    """Assign a first human turn, as `first_human_turn` gives it, to one of the groups of `SHARES`, by hash.

    Both HH subsets put the same turn in the same group; another seed cuts otherwise.
    """
    return group_at(position(first_turn, seed), SHARES)


def _hub_rows(name: str, revision: str) -> Iterator[tuple[str, object]]:
    parts = hub_dataset(HUB_DATASET, revision, data_dir=name)
    return chain.from_iterable(numbered_rows(HUB_DATASET, part, rows) for part, rows in parts.items())


def _local_rows(data_root: Path, name: str) -> Iterator[tuple[str, object]]:
    if not data_root.is_dir():
        raise InputError(
            f"data_root: no such folder: {data_root}; it must hold {name}/*.jsonl.gz (snakemake --config data_root=DIR)"
        )
    files = sorted((data_root / name).glob("*.jsonl.gz"))
    if not files:
        raise InputError(
            f"{data_root / name}: no *.jsonl.gz files; data_root must be laid out as {name}/train.jsonl.gz"
        )
    return chain.from_iterable(map(json_lines, files))


def _row(row: object, place: str) -> tuple[str, str]:
    texts = row if isinstance(row, dict) else {}
    for key in ("chosen", "rejected"):
        if not isinstance(texts.get(key), str):
            got = sorted(texts) if isinstance(row, dict) else type(row).__name__
            raise InputError(f"{place} needs a text {key}, got {got}; every row holds chosen and rejected")
    return texts["chosen"], texts["rejected"]
