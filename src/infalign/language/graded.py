"""Embedded grammars with a graded gold reward, and the corpora that they write.

The gold reward of response y to prompt x is::

    gold(x, y) = offset(x) + scale(x) · skewed(quality(x, y); skew(x))

The quality adds the values of the response's choices and is standardised. Offset, scale and skew come from the
prompt's words. The grammars are those of dialogues (`infalign.language.dialogues`) and of summaries
(`infalign.language.summaries`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from infalign.language import grammars
from infalign.language.corpora import Corpus, prompts_table, text_table
from infalign.language.lexicon import HIGH, LOW, MIDDLE
from infalign.records.corpus import EmbeddedCorpus

MISSING = -1.0  # value of an opening, closing or other choice that the grammar does not know
# A tone that means more to the asker is answered in another register.
REGISTERS = {LOW: -1, MIDDLE: 0, HIGH: 1}
REGISTER_ODDS = 3.0
LIMIT = 3.0  # qualities are held to this many standard deviations
CROSS_PROMPT = 0.3  # share of pairs whose rejected response answers another prompt


@dataclass(frozen=True)
class PromptTraits:
    """What a prompt's words say of its reward and of the answers to it.

    The register is -1 for a calm, 0 for an ordinary and 1 for a pressing tone; scale, offset and skew shape the gold
    reward; the nouns are those to the point, in dialogues.
    """

    register: int
    scale: float
    offset: float
    skew: float
    nouns: tuple[str, ...] = ()


@dataclass(frozen=True)
class GradedGrammar:
    """The grammar of one embedded task.

    Attributes
    ----------
    stream : int
        Of the random numbers; each embedded task has its own.
    n_prompts : int
        How many different prompts it writes.
    write_prompt : callable
        Prompt of a number in 0 … n_prompts - 1.
    traits : callable
        Traits of a prompt; InputError if the grammar cannot write it.
    quality : callable
        Quality of a response to a prompt, from `standardised`.
    draw_response : callable
        Response to a prompt, by a random generator.
    communities : callable, optional
        Community of each numbered prompt of an array. Default: prompts have none.
    trained : tuple of str
        Communities in distribution: policies are trained on these.
    """

    stream: int
    n_prompts: int
    write_prompt: Callable[[int], str]
    traits: Callable[[str], PromptTraits]
    quality: Callable[[str, str], float]
    draw_response: Callable[[str, np.random.Generator], str]
    communities: Callable[[np.ndarray], np.ndarray] | None = None
    trained: tuple[str, ...] = ()


def skewed(quality: float, skew: float) -> float:
    """Bend a standardised quality so that its distribution leans to one side, by the skew k.

    (e^{k q} - 1)/k, standardised to mean 0 and variance 1 for a standard normal q; increasing in q. A negative k gives
    a long lower tail, a positive one a long upper one, 0 leaves the quality as it is.

    Examples
    --------
    >>> skewed(1.5, 0.0)
    1.5
    >>> skewed(-2.0, -0.5) < -2.0 < skewed(-2.0, 0.5)
    True
    """
    if skew == 0.0:
        return quality
    mean = math.expm1(skew**2 / 2) / skew
    deviation = math.sqrt(math.exp(skew**2) * math.expm1(skew**2)) / abs(skew)
    return (math.expm1(skew * quality) / skew - mean) / deviation


def standardised(value: float, moments: tuple[float, float]) -> float:
    """Value less its mean, in standard deviations, held to [-LIMIT, LIMIT]."""
    mean, deviation = moments
    return float(np.clip((value - mean) / deviation, -LIMIT, LIMIT))


def graded_reward(grammar: GradedGrammar, prompt: str, response: str, *, null: bool = False) -> float:
    """Gold reward of a response; of the null corpus it is the prompt's offset, whatever the response."""
    traits = grammar.traits(prompt)
    if null:
        return traits.offset
    return traits.offset + traits.scale * skewed(grammar.quality(prompt, response), traits.skew)


def read_frame(
    response: str, openings: Mapping[str, float], closings: Mapping[str, float], weight: float
) -> tuple[float, list[str]]:
    """Value of a response's opening, which counts `weight` times, and closing; and the sentences between them.

    Examples
    --------
    >>> read_frame("So: it is late. Bye.", {"So:": 0.5}, {"Bye.": -0.25}, 2.0)
    (0.75, ['it is late'])
    """
    text = response.strip()
    opening = max((phrase for phrase in openings if text.startswith(phrase)), key=len, default="")
    closing = max((phrase for phrase in closings if text.endswith(phrase)), key=len, default="")
    middle = text[len(opening) : max(len(text) - len(closing), len(opening))]
    sentences = [part.strip() for part in middle.split(".") if part.strip()]
    return weight * openings.get(opening, MISSING) + closings.get(closing, MISSING), sentences


def pick(choices, rng: np.random.Generator, register: int = 0):
    """Draw a choice of a slot in a register.

    The choices at places 0, 3, 4, 7, 8, … are calm, the others pressing, whatever their value. An ordinary register
    draws all alike; another one draws its own choices `REGISTER_ODDS` times as often.
    """
    choices = list(choices)
    return choices[_shares(len(choices), register).searchsorted(rng.random(), side="right")]


@cache
def _shares(n: int, register: int) -> np.ndarray:
    """Cumulative probabilities of n choices in a register."""
    calm = np.isin(np.arange(n) % 4, (0, 3))
    weights = np.where(calm, REGISTER_ODDS ** max(-register, 0), REGISTER_ODDS ** max(register, 0))
    shares = (weights / weights.sum()).cumsum()
    return shares / shares[-1]


def graded_corpus(grammar: GradedGrammar, sizes: EmbeddedCorpus, seed: int) -> Corpus:
    """Write the corpus of a graded grammar; InputError if more prompts are asked for than it writes.

    The prompts of demonstrations (the training prompts of policies among them), of each evaluation, and of each
    split of pairs are disjoint. Where prompts have communities, demonstrations and pairs come from all of them,
    training and evaluation prompts from the trained ones, and those of `evaluation_out` from the others.
    """
    split_rng, demonstration_rng, pair_rng = np.random.default_rng([seed, grammar.stream]).spawn(3)
    groups = grammars.split_by_use(grammar.n_prompts, split_rng)
    splits = [("train", groups["demonstrations"], sizes.n_train_prompts)]
    splits += [("evaluation", groups["evaluation"], sizes.n_evaluation_prompts)]
    if grammar.communities:
        splits += [("evaluation_out", groups["evaluation"], sizes.n_evaluation_prompts)]
    rows = [row for split in splits for row in _prompt_rows(grammar, *split)]
    numbers = demonstration_rng.choice(groups["demonstrations"], sizes.n_demonstrations)
    asked = [grammar.write_prompt(number) for number in numbers]
    demonstrations = [(prompt, grammar.draw_response(prompt, demonstration_rng)) for prompt in asked]

    def write_pairs(group: np.ndarray, n: int, rng: np.random.Generator) -> Iterator[grammars.Pair]:
        return _draw_pairs(grammar, group, n, sizes.variant == "null", rng)

    return Corpus(
        demonstrations=text_table(("prompt", "response"), demonstrations),
        pairs=grammars.pairs_table(write_pairs, groups, sizes, pair_rng),
        prompts=prompts_table(rows, ["community"] if grammar.communities else [], id_digits=grammars.ID_DIGITS),
    )


def _prompt_rows(grammar: GradedGrammar, split: str, numbers: np.ndarray, n: int) -> list[tuple[str, ...]]:
    """The first n prompts of a group in the order drawn, in or for `evaluation_out` out of distribution."""
    if grammar.communities:
        trained = np.isin(grammar.communities(numbers), grammar.trained)
        numbers = numbers[trained != (split == "evaluation_out")]
    grammars.check_enough_prompts(split, n, len(numbers))
    columns = [[grammar.write_prompt(number) for number in numbers[:n]], [split] * n]
    columns += [grammar.communities(numbers[:n]).tolist()] if grammar.communities else []
    return list(zip(*columns, strict=True))


def _draw_pairs(
    grammar: GradedGrammar, numbers: np.ndarray, n: int, null: bool, rng: np.random.Generator
) -> Iterator[grammars.Pair]:
    """Pairs of two drawn responses, to one prompt or to two, preferred by their gold reward."""
    for number in rng.choice(numbers, n):
        other = rng.choice(numbers) if rng.random() < CROSS_PROMPT else number
        prompts = grammar.write_prompt(number), grammar.write_prompt(other)
        first, second = ((prompt, grammar.draw_response(prompt, rng)) for prompt in prompts)
        margin = 0.0 if null else graded_reward(grammar, *first) - graded_reward(grammar, *second)
        yield grammars.prefer(first, second, margin, rng)
