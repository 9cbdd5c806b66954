"""Embedded corpora: dialogues written by a small grammar, with a known (gold) reward.

A prompt is ``tone ask(topic) tail``::

    Urgent! how do I bake bread at home?

A response is ``opening verb the noun manner[, reason]. closing`` or, with a second piece of advice,
``opening verb the noun manner. link verb the noun manner. closing``::

    Happy to help! Measure the flour step by step, as it saves time. Good luck!

The gold reward of response y to prompt x is::

    gold(x, y) = offset(x) + scale(x) · skewed(quality(x, y); skew(x))

`quality` adds the values of the response's choices (`infalign.language.lexicon`), standardised; its
directions are the same for every prompt, except that nouns must be to the point. The prompt's words give the rest:
its tone the scale, part of the offset and the register of the answers, its topic the other part, its form the skew.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import polars as pl

from infalign.errors import InputError
from infalign.language.lexicon import HIGH, LEXICONS, LOW, MIDDLE, Lexicon

ON_TOPIC, OFF_TOPIC = 0.2, -0.8  # value of a noun that is, or is not, to the point
OPENING = 2.0  # weight of the opening: one word sets the tail of the quality, the rest makes it continuous
SECOND = 0.5  # weight of the second piece of advice against the first
MISSING = -1.0  # value of an opening, verb, manner or closing that the grammar does not know
P_ON_TOPIC, P_REASON, P_SECOND = 0.8, 0.35, 0.4  # in demonstrations and pairs; never both extensions
REGISTERS = {
    LOW: -1,
    MIDDLE: 0,
    HIGH: 1,
}  # a tone that means more to the asker is answered in another register
REGISTER_ODDS = 3.0
LIMIT = 3.0  # qualities are held to this many standard deviations
CROSS_PROMPT = 0.3  # share of pairs whose rejected response answers another prompt
SHARES = {  # of all prompts
    "demonstrations": 0.45,
    "evaluation": 0.05,
    "reward_train": 0.2,
    "reward_test": 0.05,
    "judge_train": 0.2,
    "judge_test": 0.05,
}


PAIR_COLUMNS = dict.fromkeys(("prompt", "chosen", "rejected", "rejected_prompt", "split"), pl.String)
LABEL_COLUMNS = {"prompt": pl.String, "response": pl.String, "label": pl.Float64, "split": pl.String}


@dataclass(frozen=True)
class Corpus:
    """Frames of one task.

    Attributes
    ----------
    demonstrations : polars.DataFrame
        Columns `prompt`, `response`.
    pairs : polars.DataFrame
        Columns `prompt`, `chosen`, `rejected`, `rejected_prompt` (the prompt that the rejected response
        answers; mostly the same), `split`: reward_train, reward_test, judge_train or judge_test. Without
        rows where the corpus has labels instead.
    prompts : polars.DataFrame
        Columns `prompt_id`, `prompt`, `split`: train or evaluation.
    labels : polars.DataFrame
        Columns `prompt`, `response`, `label` (1.0 positive, 0.0 negative), `split` as in pairs. Without rows
        where the corpus has pairs instead.
    """

    demonstrations: pl.DataFrame
    pairs: pl.DataFrame
    prompts: pl.DataFrame
    labels: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=LABEL_COLUMNS))


@dataclass(frozen=True)
class PromptTraits:
    """What a prompt's words say: the shape of its reward, the register and the nouns of its answers.

    `register` is -1 for a calm, 0 for an ordinary and 1 for a pressing tone.
    """

    register: int
    scale: float
    offset: float
    skew: float
    nouns: tuple[str, ...]


def lexicon(task: str) -> Lexicon:
    """Lexicon of an embedded task.

    Parameters
    ----------
    task : str
        helpful or harmless.

    Returns
    -------
    Lexicon

    Raises
    ------
    InputError
        For any other name.
    """
    if task not in LEXICONS:
        raise InputError(f"unknown embedded task {task!r}; the embedded tasks are {', '.join(LEXICONS)}")
    return LEXICONS[task]


@cache
def _traits(task: str) -> dict[str, PromptTraits]:
    """Traits of every prompt that the grammar can write."""
    words = lexicon(task)
    traits = {}
    choices = itertools.product(words.tones.items(), words.asks.items(), words.topics.items(), words.tails)
    for (tone, (scale, tone_offset)), (ask, skew), (topic, (topic_offset, nouns)), tail in choices:
        text = f"{tone}{ask.format(topic=topic)}{tail}\n"
        traits[text] = PromptTraits(REGISTERS[scale], scale, tone_offset + topic_offset, skew, nouns)
    return traits


def prompt_traits(task: str, prompt: str) -> PromptTraits:
    """Scale, offset and skew of a prompt's gold reward, and the nouns to the point.

    Parameters
    ----------
    task : str
    prompt : str
        A prompt of the task's grammar.

    Returns
    -------
    PromptTraits

    Raises
    ------
    InputError
        If the task's grammar cannot write the prompt.

    Examples
    --------
    >>> prompt_traits("helpful", "Urgent! how do I bake bread at home?\\n").nouns
    ('flour', 'oven', 'dough')
    """
    traits = _traits(task)
    if prompt not in traits:
        raise InputError(f"prompt {prompt!r} is not one of the embedded task {task}; it has no gold reward")
    return traits[prompt]


def skewed(quality: float, skew: float) -> float:
    """Bend a standardised quality so that its distribution leans to one side.

    (e^{k q} - 1)/k, standardised to mean 0 and variance 1 for a standard normal q; increasing in q.

    Parameters
    ----------
    quality : float
    skew : float
        k: negative gives a long lower tail, positive a long upper one, 0 leaves the quality as it is.

    Returns
    -------
    float

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


def quality(task: str, prompt: str, response: str) -> float:
    """Value of a response's choices, standardised over the grammar's responses to the prompt.

    Parameters
    ----------
    task : str
    prompt : str
    response : str
        Any text; what the grammar does not know counts as missing.

    Returns
    -------
    float
        In [-3, 3]; mean near 0 and variance near 1 over demonstrations.

    Raises
    ------
    InputError
        If the prompt is not one of the task's.
    """
    mean, deviation = _moments(task)
    value = _value(lexicon(task), prompt_traits(task, prompt).nouns, response)
    return float(np.clip((value - mean) / deviation, -LIMIT, LIMIT))


def gold_reward(task: str, prompt: str, response: str, *, null: bool = False) -> float:
    """Gold reward of a response: a pure function of the two texts, never used for training.

    Parameters
    ----------
    task : str
        helpful or harmless.
    prompt, response : str
    null : bool
        For the null corpus: the reward is the prompt's offset, whatever the response.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If the prompt is not one of the task's.

    Examples
    --------
    >>> prompt = "Hello, how do I bake bread?\\n"
    >>> good = "Happy to help! Prepare the flour step by step. Good luck!"
    >>> gold_reward("helpful", prompt, good) > gold_reward("helpful", prompt, "Who cares.")
    True
    """
    traits = prompt_traits(task, prompt)
    if null:
        return traits.offset
    return traits.offset + traits.scale * skewed(quality(task, prompt, response), traits.skew)


def _value(words: Lexicon, nouns: tuple[str, ...], response: str) -> float:
    text = response.strip()
    opening = max((o for o in words.openings if text.startswith(o)), key=len, default="")
    closing = max((c for c in words.closings if text.endswith(c)), key=len, default="")
    middle = text[len(opening) : max(len(text) - len(closing), len(opening))]
    advice = [part.strip() for part in middle.split(".") if part.strip()]
    total = OPENING * words.openings.get(opening, MISSING) + words.closings.get(closing, MISSING)
    if not advice:
        return total + 3 * MISSING
    total += _advice_value(words, nouns, advice[0])
    total += SECOND * sum(_advice_value(words, nouns, _unlinked(words, part)) for part in advice[1:2])
    return total + MISSING * len(advice[2:])


def _unlinked(words: Lexicon, advice: str) -> str:
    first, _, rest = advice.partition(" ")
    return rest[:1].upper() + rest[1:] if first in words.links else advice


def _advice_value(words: Lexicon, nouns: tuple[str, ...], advice: str) -> float:
    action, _, reason = advice.partition(", ")
    verb = next((v for v in words.verbs if action.startswith(f"{v} the ")), "")
    manner = next((m for m in words.manners if action.endswith(f" {m}")), "")
    on_topic = any(f" the {noun} " in f"{action} " for noun in nouns)
    value = words.verbs.get(verb, MISSING) + words.manners.get(manner, MISSING)
    return (
        value
        + (ON_TOPIC if on_topic else OFF_TOPIC)
        + (words.reasons.get(reason, MISSING) if reason else 0.0)
    )


@cache
def _moments(task: str) -> tuple[float, float]:
    """Mean and standard deviation of the value over the grammar's responses (slots are independent)."""
    words = lexicon(task)
    noun = P_ON_TOPIC * np.array([ON_TOPIC, ON_TOPIC**2]) + (1 - P_ON_TOPIC) * np.array(
        [OFF_TOPIC, OFF_TOPIC**2]
    )
    slots = [_two_moments(words.verbs), _two_moments(words.manners), noun]
    advice = sum(m for m, _ in slots), sum(s - m * m for m, s in slots)  # mean and variance
    second = np.array([advice[0], SECOND * (advice[1] + advice[0] ** 2)]) * SECOND
    extension = P_REASON * _two_moments(words.reasons) + P_SECOND * second
    opening = np.array([OPENING, OPENING**2]) * _two_moments(words.openings)
    slots += [opening, _two_moments(words.closings), extension]
    return float(sum(m for m, _ in slots)), math.sqrt(sum(s - m * m for m, s in slots))


def _two_moments(values: dict[str, float]) -> np.ndarray:
    """Mean and mean square of equally likely values."""
    choices = np.array(list(values.values()))
    return np.array([choices.mean(), (choices**2).mean()])


def write_response(task: str, prompt: str, rng: np.random.Generator) -> str:
    """Draw a response to a prompt from the grammar.

    In each slot half of the phrases belong to the calm register and half to the pressing one, whatever their
    value; an ordinary tone draws all alike, another draws its own register's `REGISTER_ODDS` times as often.

    Parameters
    ----------
    task : str
    prompt : str
    rng : numpy.random.Generator

    Returns
    -------
    str

    Raises
    ------
    InputError
        If the prompt is not one of the task's.
    """
    words, traits = lexicon(task), prompt_traits(task, prompt)
    register = traits.register
    advice, extension = _write_advice(words, traits, rng), rng.random()
    if extension < P_REASON:
        advice = f"{advice}, {pick(words.reasons, rng, register)}"
    elif extension < P_REASON + P_SECOND:
        second = _write_advice(words, traits, rng)
        advice = f"{advice}. {pick(words.links, rng, register)} {second[0].lower()}{second[1:]}"
    return f"{pick(words.openings, rng, register)} {advice}. {pick(words.closings, rng, register)}"


def _write_advice(words: Lexicon, traits: PromptTraits, rng: np.random.Generator) -> str:
    nouns = traits.nouns
    if rng.random() >= P_ON_TOPIC:
        nouns = pick(words.topics.values(), rng)[1]
    verb, manner = (pick(slot, rng, traits.register) for slot in (words.verbs, words.manners))
    return f"{verb} the {pick(nouns, rng)} {manner}"


def pick(choices, rng: np.random.Generator, register: int = 0):
    """Draw a choice; those at places 0, 3, 4, 7, 8, … of a slot are calm, the others pressing."""
    choices = list(choices)
    return choices[_shares(len(choices), register).searchsorted(rng.random(), side="right")]


@cache
def _shares(n: int, register: int) -> np.ndarray:
    """Cumulative probabilities of n choices in a register."""
    calm = np.isin(np.arange(n) % 4, (0, 3))
    weights = np.where(calm, REGISTER_ODDS ** max(-register, 0), REGISTER_ODDS ** max(register, 0))
    shares = (weights / weights.sum()).cumsum()
    return shares / shares[-1]


def corpus(
    task: str,
    seed: int,
    *,
    n_demonstrations: int,
    n_train_prompts: int,
    n_evaluation_prompts: int,
    n_pairs: int,
    n_test_pairs: int,
    null: bool = False,
) -> Corpus:
    """Write an embedded corpus; the same arguments give the same texts.

    The prompts of demonstrations (the training prompts of policies among them), evaluation, and each
    split of pairs are disjoint.

    Parameters
    ----------
    task : str
        helpful or harmless.
    seed : int
    n_demonstrations : int
    n_train_prompts, n_evaluation_prompts : int
        Prompts with rollouts.
    n_pairs, n_test_pairs : int
        Preference pairs of the reward model, and as many of the judge.
    null : bool
        Preferences are coin flips and the gold reward does not depend on the response.

    Returns
    -------
    Corpus

    Raises
    ------
    InputError
        If the task is unknown or more prompts are asked for than the grammar writes.
    """
    lexicon(task)  # names an unknown task
    rng = np.random.default_rng([seed, list(LEXICONS).index(task)])
    split_rng, demonstration_rng, pair_rng = rng.spawn(3)
    groups = _split_prompts(task, split_rng)
    _check_sizes(groups, n_train_prompts, n_evaluation_prompts)
    asked = demonstration_rng.choice(groups["demonstrations"], n_demonstrations).tolist()
    responses = [write_response(task, prompt, demonstration_rng) for prompt in asked]
    return Corpus(
        demonstrations=pl.DataFrame({"prompt": asked, "response": responses}),
        pairs=_write_splits(task, groups, n_pairs, n_test_pairs, null, pair_rng),
        prompts=_prompts_frame(groups, n_train_prompts, n_evaluation_prompts),
    )


def _prompts_frame(groups: dict[str, list[str]], n_train: int, n_evaluation: int) -> pl.DataFrame:
    train, evaluation = groups["demonstrations"][:n_train], groups["evaluation"][:n_evaluation]
    return pl.DataFrame(
        {
            "prompt_id": [prompt_id(prompt) for prompt in train + evaluation],
            "prompt": train + evaluation,
            "split": ["train"] * len(train) + ["evaluation"] * len(evaluation),
        }
    )


def _write_splits(
    task: str, groups: dict[str, list[str]], n_train: int, n_test: int, null: bool, rng: np.random.Generator
) -> pl.DataFrame:
    """Write the pairs of the reward model and of the judge; the number in one split leaves the others as they are."""
    sizes = {"reward_train": n_train, "reward_test": n_test, "judge_train": n_train, "judge_test": n_test}
    frames = [
        _write_pairs(task, groups[split], n, null, child).with_columns(split=pl.lit(split))
        for (split, n), child in zip(sizes.items(), rng.spawn(len(sizes)), strict=True)
    ]
    return pl.concat(frames)


def prompt_id(prompt: str) -> str:
    return hashlib.sha256(prompt.encode()).hexdigest()[:12]


def _split_prompts(task: str, rng: np.random.Generator) -> dict[str, list[str]]:
    prompts = rng.permutation(list(_traits(task))).tolist()
    ends = (np.cumsum(list(SHARES.values())) * len(prompts)).round().astype(int)
    return {name: prompts[start:end] for name, start, end in zip(SHARES, [0, *ends[:-1]], ends, strict=True)}


def _check_sizes(groups: dict[str, list[str]], n_train: int, n_evaluation: int) -> None:
    for key, got, group in (
        ("n_train_prompts", n_train, groups["demonstrations"]),
        ("n_evaluation_prompts", n_evaluation, groups["evaluation"]),
    ):
        if got > len(group):
            raise InputError(f"corpus.{key} must be at most {len(group)}, got {got}; lower it")


def _write_pairs(task: str, prompts: list[str], n: int, null: bool, rng: np.random.Generator) -> pl.DataFrame:
    """Noisy Bradley-Terry preferences between two responses drawn from the grammar."""
    rows = []
    for prompt in rng.choice(prompts, n).tolist():
        other = str(rng.choice(prompts)) if rng.random() < CROSS_PROMPT else prompt
        sides = [(p, write_response(task, p, rng)) for p in (prompt, other)]
        margin = 0.0 if null else gold_reward(task, *sides[0]) - gold_reward(task, *sides[1])
        if rng.random() >= 1 / (1 + math.exp(-margin)):
            sides.reverse()
        (chosen_prompt, chosen), (rejected_prompt, rejected) = sides
        rows.append((chosen_prompt, chosen, rejected, rejected_prompt))
    return pl.DataFrame(rows, schema=["prompt", "chosen", "rejected", "rejected_prompt"], orient="row")
