"""The embedded tasks `helpful` and `harmless`: questions and the advice given to them.

A prompt is ``tone ask(topic) tail``::

    Urgent! how do I bake bread at home?

A response is ``opening verb the noun manner[, reason]. closing`` or, with a second piece of advice,
``opening verb the noun manner. link verb the noun manner. closing``::

    Happy to help! Measure the flour step by step, as it saves time. Good luck!

The values of the choices (`infalign.language.lexicon`) are the same for every prompt, except that nouns must be to the
point. The prompt's tone gives the scale of the gold reward, part of its offset and the register of the answers. The
topic gives the other part of the offset, the form of the question the skew.
"""

from __future__ import annotations

import itertools
import math
from functools import cache, partial

import numpy as np

from infalign.errors import InputError
from infalign.language.graded import (
    MISSING,
    REGISTERS,
    GradedGrammar,
    PromptTraits,
    pick,
    read_frame,
    standardised,
)
from infalign.language.lexicon import LEXICONS, Lexicon

ON_TOPIC, OFF_TOPIC = 0.2, -0.8  # value of a noun that is, or is not, to the point
OPENING_WEIGHT = 2.0  # one word sets the tail of the quality, the other choices make it continuous
SECOND = 0.5  # weight of the second piece of advice against the first
P_ON_TOPIC, P_REASON, P_SECOND = 0.8, 0.35, 0.4  # in demonstrations and pairs; never both extensions


@cache
def _all_traits(task: str) -> dict[str, PromptTraits]:
    """Traits of every prompt that the grammar can write."""
    words = LEXICONS[task]
    traits = {}
    choices = itertools.product(words.tones.items(), words.asks.items(), words.topics.items(), words.tails)
    for (tone, (scale, tone_offset)), (ask, skew), (topic, (topic_offset, nouns)), tail in choices:
        text = f"{tone}{ask.format(topic=topic)}{tail}\n"
        traits[text] = PromptTraits(REGISTERS[scale], scale, tone_offset + topic_offset, skew, nouns)
    return traits


@cache
def _all_prompts(task: str) -> tuple[str, ...]:
    return tuple(_all_traits(task))


def _numbered_prompt(task: str, number: int) -> str:
    return _all_prompts(task)[number]


def dialogue_traits(task: str, prompt: str) -> PromptTraits:
    """Traits of a prompt of helpful or harmless; InputError if the task's grammar cannot write it.

    Examples
    --------
    >>> dialogue_traits("helpful", "Urgent! how do I bake bread at home?\\n").nouns
    ('flour', 'oven', 'dough')
    """
    traits = _all_traits(task)
    if prompt not in traits:
        raise InputError(f"prompt {prompt!r} is not one of the embedded task {task}; it has no gold reward")
    return traits[prompt]


def dialogue_quality(task: str, prompt: str, response: str) -> float:
    """Value of a response's choices, standardised over the grammar's responses to the prompt.

    In [-3, 3], with mean near 0 and variance near 1 over demonstrations. The response is any text; what the grammar
    does not know counts as missing.
    """
    return standardised(_value(LEXICONS[task], dialogue_traits(task, prompt).nouns, response), _moments(task))


def _value(words: Lexicon, nouns: tuple[str, ...], response: str) -> float:
    total, advice = read_frame(response, words.openings, words.closings, OPENING_WEIGHT)
    if not advice:
        return total + 3 * MISSING
    total += _advice_value(words, nouns, advice[0])
    total += SECOND * sum(_advice_value(words, nouns, _unlinked(words, part)) for part in advice[1:2])
    return total + MISSING * len(advice[2:])


def _unlinked(words: Lexicon, advice: str) -> str:
    first, _, linked = advice.partition(" ")
    return linked[:1].upper() + linked[1:] if first in words.links else advice


def _advice_value(words: Lexicon, nouns: tuple[str, ...], advice: str) -> float:
    action, _, reason = advice.partition(", ")
    verb = next((v for v in words.verbs if action.startswith(f"{v} the ")), "")
    manner = next((m for m in words.manners if action.endswith(f" {m}")), "")
    on_topic = any(f" the {noun} " in f"{action} " for noun in nouns)
    value = words.verbs.get(verb, MISSING) + words.manners.get(manner, MISSING)
    reason_value = words.reasons.get(reason, MISSING) if reason else 0.0
    return value + (ON_TOPIC if on_topic else OFF_TOPIC) + reason_value


@cache
def _moments(task: str) -> tuple[float, float]:
    """Mean and standard deviation of the value over the grammar's responses (slots are independent)."""
    words = LEXICONS[task]
    on_topic, off_topic = (np.array([value, value**2]) for value in (ON_TOPIC, OFF_TOPIC))
    noun = P_ON_TOPIC * on_topic + (1 - P_ON_TOPIC) * off_topic
    slots = [_two_moments(words.verbs), _two_moments(words.manners), noun]
    advice = sum(m for m, _ in slots), sum(s - m * m for m, s in slots)  # mean and variance
    second = np.array([advice[0], SECOND * (advice[1] + advice[0] ** 2)]) * SECOND
    extension = P_REASON * _two_moments(words.reasons) + P_SECOND * second
    opening = np.array([OPENING_WEIGHT, OPENING_WEIGHT**2]) * _two_moments(words.openings)
    slots += [opening, _two_moments(words.closings), extension]
    return float(sum(m for m, _ in slots)), math.sqrt(sum(s - m * m for m, s in slots))


def _two_moments(values: dict[str, float]) -> np.ndarray:
    """Mean and mean square of equally likely values."""
    choices = np.array(list(values.values()))
    return np.array([choices.mean(), (choices**2).mean()])


def draw_answer(task: str, prompt: str, rng: np.random.Generator) -> str:
    """Draw a response to a prompt of helpful or harmless from the grammar."""
    words, traits = LEXICONS[task], dialogue_traits(task, prompt)
    register = traits.register
    advice, extension = _draw_advice(words, traits, rng), rng.random()
    if extension < P_REASON:
        advice = f"{advice}, {pick(words.reasons, rng, register)}"
    elif extension < P_REASON + P_SECOND:
        second = _draw_advice(words, traits, rng)
        advice = f"{advice}. {pick(words.links, rng, register)} {second[0].lower()}{second[1:]}"
    return f"{pick(words.openings, rng, register)} {advice}. {pick(words.closings, rng, register)}"


def _draw_advice(words: Lexicon, traits: PromptTraits, rng: np.random.Generator) -> str:
    nouns = traits.nouns
    if rng.random() >= P_ON_TOPIC:
        nouns = pick(words.topics.values(), rng)[1]
    verb, manner = (pick(slot, rng, traits.register) for slot in (words.verbs, words.manners))
    return f"{verb} the {pick(nouns, rng)} {manner}"


DIALOGUES = {
    task: GradedGrammar(
        stream=stream,
        n_prompts=len(words.tones) * len(words.asks) * len(words.topics) * len(words.tails),
        write_prompt=partial(_numbered_prompt, task),
        traits=partial(dialogue_traits, task),
        quality=partial(dialogue_quality, task),
        draw_response=partial(draw_answer, task),
    )
    for stream, (task, words) in enumerate(LEXICONS.items())
}
