"""Length limits: what of a corpus fits into a model's context, and what becomes of the rest."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import polars as pl
from transformers import PreTrainedTokenizerBase

from infalign.errors import InputError
from infalign.language.corpora import Corpus
from infalign.records.corpus import TooLong

TURN = "\n\nHuman:"
TABLES = ("demonstrations", "pairs", "prompts", "labels")
TEXT = ("prompt", "response")
SENTENCE_END = re.compile(r"[.!?][\"')\]]*(?=\s|$)|\n")


def fit_to_context(
    corpus: Corpus,
    tokenizer: PreTrainedTokenizerBase,
    max_prompt_tokens: int,
    max_response_tokens: int,
    policy: TooLong = "error",
) -> tuple[Corpus, dict[str, int]]:
    """Keep a corpus within limits in tokens; its counts say of each table how many rows were dropped or shortened.

    Parameters
    ----------
    max_prompt_tokens, max_response_tokens : int
        Limits; the end-of-sequence token counts towards the response.
    policy : {"error", "drop", "truncate_left"}
        What happens to longer texts. "error" refuses them. "drop" leaves out rows with a prompt or response over
        its limit. "truncate_left" shortens prompts from their beginning (whole turns first, then words) and ends
        responses after the last whole sentence that fits; rows that have none, and pairs that become equal, are
        dropped.

    Raises
    ------
    InputError
        Something is too long and `policy` is "error"; nothing is left of a table.
    """
    limits = _Limits(tokenizer, max_prompt_tokens, max_response_tokens)
    counts: dict[str, int] = {}
    frames = {}
    for table in TABLES:
        frame = frames[table] = getattr(corpus, table)
        if frame.is_empty():
            continue
        frames[table] = limits.apply(frame, table, policy, counts)
        if frames[table].is_empty():
            raise InputError(
                f"{table}: none of {frame.height} rows fits into {max_prompt_tokens} prompt and "
                f"{max_response_tokens} response tokens; raise max_prompt_tokens or max_response_tokens"
            )
    return Corpus(**_disjoint(frames, counts)), counts


def _disjoint(frames: dict[str, pl.DataFrame], counts: dict[str, int]) -> dict[str, pl.DataFrame]:
    """Leave out and count rows whose prompt is another group's; evaluation goes first, then the reward model."""
    evaluation = pl.col("split").str.starts_with("evaluation")
    reward = pl.col("split").str.starts_with("reward")
    prompts = frames["prompts"].unique(["prompt", "split"], keep="first", maintain_order=True)
    pairs = frames["pairs"]
    held_out = pl.col("prompt").is_in(prompts.filter(evaluation)["prompt"].implode())
    of_reward = pl.col("prompt").is_in(pairs.filter(reward)["prompt"].implode())
    kept = {
        "demonstrations": frames["demonstrations"].filter(~held_out),
        "pairs": pairs.filter(~held_out & (reward | ~of_reward)),
        "prompts": prompts.filter(evaluation | ~held_out),
        "labels": frames["labels"].filter(~held_out).unique(TEXT, keep="first", maintain_order=True),
    }
    counts |= {f"{name}_overlap_dropped": frames[name].height - kept[name].height for name in kept}
    return kept


def take_prompts(corpus: Corpus, n_train: int, n_evaluation: int) -> Corpus:
    """Keep the first prompts of each split in the order of their ids, which are hashes; InputError if there are fewer.

    A corpus with prompts out of distribution keeps `n_evaluation` of them too.
    """
    parts = []
    sizes = {"train": n_train, "evaluation": n_evaluation}
    if "evaluation_out" in corpus.prompts["split"]:
        sizes["evaluation_out"] = n_evaluation
    for split, n in sizes.items():
        prompts = corpus.prompts.filter(split=split).sort("prompt_id")
        key = f"n_{split.removesuffix('_out')}_prompts"
        parts.append(_first(prompts, n, key, f"{split} prompts", "max_prompt_tokens"))
    return replace(corpus, prompts=pl.concat(parts))


def take_reviews(corpus: Corpus, n_demonstrations: int, n_train: int, n_test: int) -> Corpus:
    """Keep the first demonstrations and, of the reward model and of the judge each, the first labelled responses."""
    demonstrations = _first(corpus.demonstrations, n_demonstrations, "n_demonstrations", "demonstrations")
    labels = [
        _first(corpus.labels.filter(split=split), n, key, f"labelled responses of {split}")
        for part, n, key in (("train", n_train, "n_labelled"), ("test", n_test, "n_test_labelled"))
        for split in (f"reward_{part}", f"judge_{part}")
    ]
    return replace(corpus, demonstrations=demonstrations, labels=pl.concat(labels))


def _first(frame: pl.DataFrame, n: int, key: str, rows: str, limit: str = "max_response_tokens") -> pl.DataFrame:
    if frame.height < n:
        raise InputError(
            f"corpus.{key} must be <= {frame.height}, the {rows} that are left, got {n}; lower it or raise {limit}"
        )
    return frame.head(n)


class _Limits:
    """The two limits with the tokenizer that they are counted in."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prompt: int, response: int):
        self.tokenizer = tokenizer
        self.tokens = {"prompt": prompt, "response": response - 1}

    def apply(self, frame: pl.DataFrame, table: str, policy: TooLong, counts: dict[str, int]) -> pl.DataFrame:
        """Return the rows of one table that fit, shortened where `policy` says so."""
        tally: Counter[str] = Counter()
        columns = [name for name in ("prompt", "response", "chosen", "rejected") if name in frame.columns]
        cut: dict[str, list[str | None]] = {
            name: self._cut_column(frame[name].to_list(), name, table, policy, tally) for name in columns
        }
        if "rejected_prompt" in frame.columns:
            cut["rejected_prompt"] = cut["prompt"]
        shorter = frame.with_columns(pl.Series(name, texts, dtype=pl.String) for name, texts in cut.items())
        kept = shorter.drop_nulls(columns)
        counts[f"{table}_too_long_dropped"] = frame.height - kept.height
        counts |= {f"{table}_{name}_shortened": tally[name] for name in columns if policy == "truncate_left"}
        if "chosen" in columns:
            different = kept.filter(pl.col("chosen").str.strip_chars() != pl.col("rejected").str.strip_chars())
            counts[f"{table}_equal_after_shortening"] = kept.height - different.height
            kept = different
        return kept

    def _cut_column(
        self, texts: list[str], name: str, table: str, policy: TooLong, tally: Counter[str]
    ) -> list[str | None]:
        kind = "prompt" if name == "prompt" else "response"
        sizes = [len(ids) for ids in self._encode(texts)]
        long = [i for i, size in enumerate(sizes) if size > self.tokens[kind]]
        if long and policy == "error":
            raise InputError(
                f"{table}: {name} of row {long[0]} has {sizes[long[0]]} tokens, the limit is "
                f"{self.tokens[kind]} ({len(long)} such rows); raise max_{kind}_tokens, or set "
                "too_long: drop or too_long: truncate_left"
            )
        cut: list[str | None] = list(texts)
        for i in long:
            shorten = self._end_of_prompt if kind == "prompt" else self._whole_sentences
            cut[i] = shorten(texts[i]) if policy == "truncate_left" else None
        tally[name] += sum(cut[i] is not None for i in long)
        return cut

    def _encode(self, texts: list[str]) -> list[list[int]]:
        return self.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []

    def _first_fitting(self, candidates: list[str], kind: str) -> str | None:
        """First of `candidates` within the limit, for candidates in order of decreasing length."""
        sizes = [len(ids) for ids in self._encode(candidates)]
        fits = (text for text, size in zip(candidates, sizes, strict=True) if size <= self.tokens[kind])
        return next(fits, None)

    def _end_of_prompt(self, prompt: str) -> str | None:
        turns = [match.start() for match in re.finditer(re.escape(TURN), prompt)]
        words = [match.start() for match in re.finditer(r"\s+\S", prompt)][-4 * self.tokens["prompt"] :]
        by_turn = self._first_fitting([prompt[start:] for start in turns], "prompt")
        return by_turn or self._first_fitting([prompt[start:] for start in words], "prompt")

    def _whole_sentences(self, response: str) -> str | None:
        ends = [match.end() for match in SENTENCE_END.finditer(response)]
        prefixes = [response[:end].rstrip() for end in reversed(ends)]
        return self._first_fitting([text for text in prefixes if text.strip()], "response")
