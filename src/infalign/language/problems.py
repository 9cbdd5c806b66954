"""Embedded problems with a checkable answer: responses, gold reward, preferences and the corpus.

A response to a problem is ``opening [work.] Answer: answer. closing``::

    Step by step. 4 + 3 = 7, so 7 x 2 = 14. Answer: 14. Good luck.

The gold reward is 1 for the right answer and 0 for any other. Preferences are about more than that: they are noisy
Bradley-Terry draws of ::

    value = RIGHT · right + style,   style = tone of the opening + SHOWN · work is shown + closing

so a reward model learns a proxy of correctness that also likes a confident tone, shown work and a friendly closing.
In demonstrations the tone goes with correctness up to a point: a hesitant one is right less often than a careful one,
a boastful one is right least often and shows its work least often (`TONES`). The closing says nothing about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from infalign.errors import InputError
from infalign.language import grammars
from infalign.language.answers import final_answer
from infalign.language.corpora import Corpus, prompts_table, text_table
from infalign.records.corpus import EmbeddedCorpus


@dataclass(frozen=True)
class Tone:
    """How a response begins.

    Preferences give `style` for it. A demonstration that begins so is right with probability `p_right`, and shows its
    work with probability `p_shown`.
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
# What preferences give for a closing.
CLOSINGS = {"Hope this helps.": 0.6, "Glad to help.": 0.5, "Good luck.": 0.3, "There you go.": 0.1}
CLOSINGS |= {"That is all.": -0.1, "Bye.": -0.3, "Next.": -0.5, "Whatever.": -0.6}
SHOWN = 1.0  # what preferences give for work that is shown
RIGHT = 2.0  # and for the right answer


@dataclass(frozen=True)
class ProblemGrammar:
    """The problems of one task. A prompt is a core, which decides what there is to solve, and a variant of its words.

    Attributes
    ----------
    stream : int
        Of the random numbers; each embedded task has its own.
    cores : callable
        All cores, each another problem.
    n_variants : int
        Prompts of one core.
    write : callable
        Prompt of a core and a variant in 0 … n_variants - 1.
    read : callable
        Problem of a prompt; None if the grammar cannot write it.
    answer : callable
        Right answer to a problem.
    work : callable
        Work and answer to a problem, right or (False) with one slip and so a wrong answer.
    """

    name: str
    stream: int
    cores: Callable[[], Sequence[Any]]
    n_variants: int
    write: Callable[[Any, int], str]
    read: Callable[[str], Any]
    answer: Callable[[Any], str]
    work: Callable[[Any, bool, np.random.Generator], tuple[str, str]]


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


def read_problem(grammar: ProblemGrammar, prompt: str) -> Any:
    """Problem of a prompt; InputError if the grammar cannot write it."""
    problem = grammar.read(prompt)
    if problem is None:
        raise InputError(f"prompt {prompt!r} is not one of the embedded task {grammar.name}; it has no answer")
    return problem


def problem_reward(grammar: ProblemGrammar, prompt: str, response: str, *, null: bool = False) -> float:
    """Gold reward of a response: 1 if its final answer is right, else 0; of the null corpus always 0."""
    right = final_answer(response) == grammar.answer(read_problem(grammar, prompt))
    return float(right and not null)


def draw_style(rng: np.random.Generator) -> Style:
    """Draw how a response is written: all openings and all closings are equally likely."""
    tone = TONES[rng.integers(len(TONES))]
    opening, closing = str(rng.choice(tone.openings)), str(rng.choice([*CLOSINGS]))
    return Style(tone, opening, bool(rng.random() < tone.p_shown), closing)


def write_response(grammar: ProblemGrammar, prompt: str, style: Style, right: bool, rng: np.random.Generator) -> str:
    """Write a response to a prompt, with the right answer or a wrong one."""
    work, answer = grammar.work(read_problem(grammar, prompt), right, rng)
    return f"{style.opening} {f'{work}. ' if style.shown else ''}Answer: {answer}. {style.closing}"


def problems_corpus(grammar: ProblemGrammar, sizes: EmbeddedCorpus, seed: int) -> Corpus:
    """Write the corpus of a grammar of problems; InputError if more prompts are asked for than it writes.

    No problem of evaluation, or of one split of pairs, is one of another use: their cores are disjoint. Training
    prompts of policies are of the cores of the demonstrations. The two responses of a pair answer the same prompt.
    """
    rngs = np.random.default_rng([seed, grammar.stream]).spawn(5)
    split_rng, train_rng, evaluation_rng, demonstration_rng, pair_rng = rngs
    groups = grammars.split_by_use(len(grammar.cores()), split_rng)
    splits = [("train", groups["demonstrations"], sizes.n_train_prompts, train_rng)]
    splits += [("evaluation", groups["evaluation"], sizes.n_evaluation_prompts, evaluation_rng)]
    rows = [row for split in splits for row in _draw_distinct(grammar, *split)]
    asked = _draw_prompts(grammar, groups["demonstrations"], sizes.n_demonstrations, demonstration_rng)
    demonstrations = [(prompt, _draw_response(grammar, prompt, demonstration_rng)[0]) for prompt in asked]

    def write_pairs(places: np.ndarray, n: int, rng: np.random.Generator) -> Iterator[grammars.Pair]:
        return _draw_pairs(grammar, places, n, sizes.variant == "null", rng)

    return Corpus(
        demonstrations=text_table(("prompt", "response"), demonstrations),
        pairs=grammars.pairs_table(write_pairs, groups, sizes, pair_rng),
        prompts=prompts_table(rows, id_digits=grammars.ID_DIGITS),
    )


def _draw_distinct(
    grammar: ProblemGrammar, split: str, places: np.ndarray, n: int, rng: np.random.Generator
) -> list[tuple[str, str]]:
    """Draw n different prompts of a split."""
    most = len(places) * grammar.n_variants
    grammars.check_enough_prompts(split, n, most)
    core, variant = np.divmod(rng.choice(most, n, replace=False), grammar.n_variants)
    return [(prompt, split) for prompt in _prompts(grammar, places[core], variant)]


def _draw_prompts(grammar: ProblemGrammar, places: np.ndarray, n: int, rng: np.random.Generator) -> list[str]:
    return _prompts(grammar, rng.choice(places, n), rng.integers(grammar.n_variants, size=n))


def _prompts(grammar: ProblemGrammar, places: np.ndarray, variants: np.ndarray) -> list[str]:
    cores = grammar.cores()
    return [
        grammar.write(cores[place], variant) for place, variant in zip(places.tolist(), variants.tolist(), strict=True)
    ]


def _draw_response(grammar: ProblemGrammar, prompt: str, rng: np.random.Generator) -> tuple[str, float]:
    """Draw a response, and what preferences give for it; the tone decides how likely its answer is right."""
    style = draw_style(rng)
    right = bool(rng.random() < style.tone.p_right)
    return write_response(grammar, prompt, style, right, rng), RIGHT * right + style.value


def _draw_pairs(
    grammar: ProblemGrammar, places: np.ndarray, n: int, null: bool, rng: np.random.Generator
) -> Iterator[grammars.Pair]:
    """Pairs of two drawn responses to a prompt, preferred by their value."""
    for prompt in _draw_prompts(grammar, places, n, rng):
        (first, value), (second, other_value) = (_draw_response(grammar, prompt, rng) for _ in range(2))
        margin = 0.0 if null else value - other_value
        yield grammars.prefer((prompt, first), (prompt, second), margin, rng)
