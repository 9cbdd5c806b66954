"""Embedded problems with a checkable answer: responses, gold reward, preferences and the corpus.

A response to a problem is ``opening [work.] Answer: answer. closing``::

    Step by step. 4 + 3 = 7, so 7 x 2 = 14. Answer: 14. Good luck.

The gold reward is 1 for the right answer and 0 for any other. Preferences are about more than that: they are noisy
Bradley-Terry draws of ::

    value = RIGHT · right + style,   style = tone of the opening + SHOWN · work is shown + closing

so a reward model learns a proxy of correctness that likes a confident tone, shown work and a friendly closing too.
In demonstrations the tone goes with correctness up to a point: who hesitates is right less often than who is careful,
who boasts is right least often and shows the work least often (`TONES`). The closing says nothing about it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from infalign.errors import InputError
from infalign.language.answers import final_answer
from infalign.language.corpora import SHARES, Corpus, prompt_id


@dataclass(frozen=True)
class Tone:
    """How a response begins.

    Attributes
    ----------
    style : float
        What preferences give for it.
    p_right : float
        How often a demonstration that begins so is right, in [0, 1].
    p_shown : float
        How often it shows its work, in [0, 1].
    openings : tuple of str
    """

    style: float
    p_right: float
    p_shown: float
    openings: tuple[str, ...]


TONES = (
    Tone(-1.0, 0.6, 0.75, ("Hmm.", "Not sure.", "A guess.")),
    Tone(0.0, 0.75, 0.75, ("Well.", "Let me see.", "Here goes.")),
    Tone(1.0, 0.9, 0.95, ("I checked.", "With care.", "Step by step.")),
    Tone(2.0, 0.4, 0.5, ("Obviously!", "No doubt!", "Trust me!")),
)
CLOSINGS = {  # style
    "Hope this helps.": 0.6,
    "Glad to help.": 0.5,
    "Good luck.": 0.3,
    "There you go.": 0.1,
    "That is all.": -0.1,
    "Bye.": -0.3,
    "Next.": -0.5,
    "Whatever.": -0.6,
}
SHOWN = 1.0  # what preferences give for work that is shown
RIGHT = 2.0  # and for the right answer


@dataclass(frozen=True)
class ProblemGrammar:
    """The problems of one task. A prompt is a core, which decides what there is to solve, and a variant of its words.

    Attributes
    ----------
    stream : int
        Of the random numbers, another for each embedded task.
    cores : callable
        All cores, each another problem.
    n_variants : int
        Prompts of one core.
    write : callable
        Prompt of a core and a variant in 0 … n_variants - 1.
    solve : callable
        Right answer of a prompt; InputError if the grammar cannot write it.
    work : callable
        Work and answer to a prompt, right or (False) with one slip and so a wrong answer.
    """

    stream: int
    cores: Callable[[], Sequence[Any]]
    n_variants: int
    write: Callable[[Any, int], str]
    solve: Callable[[str], str]
    work: Callable[[str, bool, np.random.Generator], tuple[str, str]]


@dataclass(frozen=True)
class Style:
    """How a response is written, whatever its answer."""

    tone: Tone
    opening: str
    shown: bool
    closing: str

    @property
    def value(self) -> float:
        """What preferences give for it."""
        return self.tone.style + SHOWN * self.shown + CLOSINGS[self.closing]


def gold_reward(grammar: ProblemGrammar, prompt: str, response: str, *, null: bool = False) -> float:
    """Gold reward of a response: 1 if its final answer is right, else 0.

    Parameters
    ----------
    grammar : ProblemGrammar
    prompt, response : str
    null : bool
        For the null corpus: 0 whatever the response.

    Returns
    -------
    float
        0 or 1.

    Raises
    ------
    InputError
        If the grammar cannot write the prompt.
    """
    right = final_answer(response) == grammar.solve(prompt)
    return float(right and not null)


def draw_style(rng: np.random.Generator) -> Style:
    """Draw how a response is written: all openings and all closings are equally likely.

    Parameters
    ----------
    rng : numpy.random.Generator

    Returns
    -------
    Style
    """
    tone = TONES[rng.integers(len(TONES))]
    opening, closing = str(rng.choice(tone.openings)), str(rng.choice([*CLOSINGS]))
    return Style(tone, opening, bool(rng.random() < tone.p_shown), closing)


def write_response(
    grammar: ProblemGrammar, prompt: str, style: Style, right: bool, rng: np.random.Generator
) -> str:
    """Write a response.

    Parameters
    ----------
    grammar : ProblemGrammar
    prompt : str
    style : Style
    right : bool
        Whether its answer is right.
    rng : numpy.random.Generator

    Returns
    -------
    str

    Raises
    ------
    InputError
        If the grammar cannot write the prompt.
    """
    work, answer = grammar.work(prompt, right, rng)
    return f"{style.opening} {f'{work}. ' if style.shown else ''}Answer: {answer}. {style.closing}"


def problems_corpus(
    grammar: ProblemGrammar,
    seed: int,
    *,
    n_demonstrations: int,
    n_train_prompts: int,
    n_evaluation_prompts: int,
    n_pairs: int,
    n_test_pairs: int,
    null: bool = False,
) -> Corpus:
    """Write the corpus; the same arguments give the same texts.

    No problem of evaluation, or of one split of pairs, is one of another use: their cores are disjoint. Training
    prompts of policies are of the cores of the demonstrations.

    Parameters
    ----------
    grammar : ProblemGrammar
    seed : int
    n_demonstrations : int
    n_train_prompts, n_evaluation_prompts : int
        Prompts with rollouts, no two alike.
    n_pairs, n_test_pairs : int
        Preference pairs of the reward model, and as many of the judge; both responses answer the same prompt.
    null : bool
        Preferences are coin flips and the gold reward does not depend on the response.

    Returns
    -------
    Corpus

    Raises
    ------
    InputError
        If more prompts are asked for than the grammar writes.
    """
    rngs = np.random.default_rng([seed, grammar.stream]).spawn(5)
    split_rng, train_rng, evaluation_rng, demonstration_rng, pair_rng = rngs
    groups = _split_cores(grammar, split_rng)
    prompts = [
        _prompts_frame(grammar, "train", groups["demonstrations"], n_train_prompts, train_rng),
        _prompts_frame(grammar, "evaluation", groups["evaluation"], n_evaluation_prompts, evaluation_rng),
    ]
    asked = _draw_prompts(grammar, groups["demonstrations"], n_demonstrations, demonstration_rng)
    responses = [_draw_response(grammar, prompt, demonstration_rng)[0] for prompt in asked]
    sizes = {"reward_train": n_pairs, "reward_test": n_test_pairs}
    sizes |= {"judge_train": n_pairs, "judge_test": n_test_pairs}
    pairs = [
        _write_pairs(grammar, groups[split], n, null, child).with_columns(split=pl.lit(split))
        for (split, n), child in zip(sizes.items(), pair_rng.spawn(len(sizes)), strict=True)
    ]
    return Corpus(
        demonstrations=pl.DataFrame({"prompt": asked, "response": responses}),
        pairs=pl.concat(pairs),
        prompts=pl.concat(prompts),
    )


def _split_cores(grammar: ProblemGrammar, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Places of the cores of each use."""
    places = rng.permutation(len(grammar.cores()))
    ends = (np.cumsum(list(SHARES.values())) * len(places)).round().astype(int)
    return dict(zip(SHARES, np.split(places, ends[:-1]), strict=True))


def _prompts_frame(
    grammar: ProblemGrammar, split: str, places: np.ndarray, n: int, rng: np.random.Generator
) -> pl.DataFrame:
    """Draw n different prompts with their ids."""
    most = len(places) * grammar.n_variants
    if n > most:
        raise InputError(f"corpus.n_{split}_prompts must be at most {most}, got {n}; lower it")
    core, variant = np.divmod(rng.choice(most, n, replace=False), grammar.n_variants)
    prompts = _prompts(grammar, places[core], variant)
    ids = [prompt_id(prompt) for prompt in prompts]
    return pl.DataFrame({"prompt_id": ids, "prompt": prompts, "split": [split] * n})


def _draw_prompts(grammar: ProblemGrammar, places: np.ndarray, n: int, rng: np.random.Generator) -> list[str]:
    return _prompts(grammar, rng.choice(places, n), rng.integers(grammar.n_variants, size=n))


def _prompts(grammar: ProblemGrammar, places: np.ndarray, variants: np.ndarray) -> list[str]:
    cores = grammar.cores()
    return [
        grammar.write(cores[place], variant)
        for place, variant in zip(places.tolist(), variants.tolist(), strict=True)
    ]


def _draw_response(grammar: ProblemGrammar, prompt: str, rng: np.random.Generator) -> tuple[str, float]:
    """Draw a response, and what preferences give for it; the tone decides how likely its answer is right."""
    style = draw_style(rng)
    right = bool(rng.random() < style.tone.p_right)
    return write_response(grammar, prompt, style, right, rng), RIGHT * right + style.value


def _write_pairs(
    grammar: ProblemGrammar, places: np.ndarray, n: int, null: bool, rng: np.random.Generator
) -> pl.DataFrame:
    """Noisy Bradley-Terry preferences between two responses to a prompt."""
    rows = []
    for prompt in _draw_prompts(grammar, places, n, rng):
        (one, value), (other, other_value) = (_draw_response(grammar, prompt, rng) for _ in range(2))
        margin = 0.0 if null else value - other_value
        chosen, rejected = (one, other) if rng.random() < 1 / (1 + math.exp(-margin)) else (other, one)
        rows.append((prompt, chosen, rejected, prompt))
    return pl.DataFrame(rows, schema=["prompt", "chosen", "rejected", "rejected_prompt"], orient="row")
