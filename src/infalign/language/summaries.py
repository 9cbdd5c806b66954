"""The embedded task `summaries`: posts of eight communities and their summaries.

A post is ``community: mood Time my person deed. I feel feeling and want to plan. question``::

    work: I am in tears! Last night my boss read my mail. I feel hurt and want to leave. Is that fair?

A summary is ``opening whose person[ filler] deed[ time].[ who feels and wants.][ ramble.] closing``::

    In short: my boss simply read my mail last night. I want to leave. Advice welcome.

Its choices are the opening, the point of view (my, their or your), which facts of the post it keeps, whether each
is the post's or a wrong one, the filler, the ramble (and so the length) and the closing. The gold reward has the form
of `infalign.language.graded`. The post's mood gives the scale, part of the offset and the register of its summaries.
The community and the person give the other part of the offset, the question gives the skew.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache

import numpy as np

from infalign.errors import InputError
from infalign.language import summary_words as words
from infalign.language.graded import (
    MISSING,
    REGISTERS,
    GradedGrammar,
    PromptTraits,
    pick,
    read_frame,
    standardised,
)

OPENING_WEIGHT = 1.8  # as for the dialogues: one choice sets the tail of the quality
P_RAMBLE = 0.2
UNWEIGHTED = (words.VIEWS, words.FILLERS, words.CLOSINGS)


@dataclass(frozen=True)
class Post:
    """The choices of a post, each a phrase of the lists of words; `deed` still holds `{my}`."""

    community: str
    mood: str
    time: str
    person: str
    deed: str
    feeling: str
    plan: str
    question: str

    def text(self) -> str:
        """The post as it is written, with its line end."""
        return (
            f"{self.community}: {self.mood} {self.time[0].upper()}{self.time[1:]} my {self.person} "
            f"{self.deed.format(my='my')}. I feel {self.feeling} and want to {self.plan}. {self.question}\n"
        )

    def others(self, fact: str) -> tuple[str, ...]:
        """Everything that the fact could have been in a post of this community, the post's own left out."""
        community = words.COMMUNITIES[self.community]
        phrases = {
            "person": tuple(community.people),
            "deed": community.deeds,
            "time": words.TIMES,
            "feeling": words.FEELINGS,
            "plan": words.PLANS,
        }[fact]
        return tuple(phrase for phrase in phrases if phrase != getattr(self, fact))


ABOUT = tuple(  # a community brings its people and deeds
    (name, person, deed) for name, c in words.COMMUNITIES.items() for person in c.people for deed in c.deeds
)
FURTHER = (words.MOODS, words.TIMES, words.FEELINGS, words.PLANS, words.QUESTIONS)
CHOICES: tuple[tuple, ...] = (ABOUT, *map(tuple, FURTHER))
SHAPE = tuple(map(len, CHOICES))
N_POSTS = math.prod(SHAPE)  # different posts: 1,244,160


def numbered_post(number: int) -> Post:
    """Post of a number from 0 to N_POSTS - 1; each number is another post."""
    places = np.unravel_index(number, SHAPE)
    chosen = [choices[place] for choices, place in zip(CHOICES, places, strict=True)]
    (community, person, deed), mood, time, feeling, plan, question = chosen
    return Post(community, mood, time, person, deed, feeling, plan, question)


@cache
def _post_pattern() -> re.Pattern[str]:
    def one_of(name: str, phrases) -> str:
        return f"(?P<{name}>{'|'.join(map(re.escape, phrases))})"

    people = dict.fromkeys(person for c in words.COMMUNITIES.values() for person in c.people)
    deeds = dict.fromkeys(deed.format(my="my") for c in words.COMMUNITIES.values() for deed in c.deeds)
    times = [time[0].upper() + time[1:] for time in words.TIMES]
    return re.compile(
        f"{one_of('community', words.COMMUNITIES)}: {one_of('mood', words.MOODS)} {one_of('time', times)} my "
        f"{one_of('person', people)} {one_of('deed', deeds)}\\. I feel {one_of('feeling', words.FEELINGS)} and want to "
        f"{one_of('plan', words.PLANS)}\\. {one_of('question', words.QUESTIONS)}\n"
    )


def read_post(prompt: str) -> Post:
    """Choices of a post, from its text with the line end; InputError if the grammar cannot write it.

    Examples
    --------
    >>> text = "work: New here. In May my boss took my desk. I feel tired and want to wait. What now?\\n"
    >>> read_post(text).deed
    'took {my} desk'
    """
    match = _post_pattern().fullmatch(prompt)
    if match is not None:
        parts = match.groupdict()
        parts["time"] = parts["time"][0].lower() + parts["time"][1:]
        parts["deed"] = parts["deed"].replace(" my ", " {my} ")
        community = words.COMMUNITIES[parts["community"]]
        if parts["person"] in community.people and parts["deed"] in community.deeds:
            return Post(**parts)
    raise InputError(f"prompt {prompt!r} is not a post of the embedded task summaries; it has no gold reward")


def post_traits(prompt: str) -> PromptTraits:
    """Scale, offset and skew of a post's gold reward, and the register of its summaries."""
    post = read_post(prompt)
    scale, offset = words.MOODS[post.mood]
    community = words.COMMUNITIES[post.community]
    offset += community.offset + community.people[post.person]
    return PromptTraits(REGISTERS[scale], scale, offset, words.QUESTIONS[post.question])


def summary_quality(prompt: str, response: str) -> float:
    """Value of a summary's choices, standardised over the grammar's summaries of the post.

    In [-3, 3], with mean near 0 and variance near 1 over demonstrations. The response is any text; what the grammar
    does not know counts as missing or wrong.
    """
    return standardised(_value(read_post(prompt), response), _moments())


def _value(post: Post, response: str) -> float:
    total, sentences = read_frame(response, words.OPENINGS, words.CLOSINGS, OPENING_WEIGHT)
    event, later = (sentences[0], sentences[1:]) if sentences else ("", [])
    subject = f"{words.SUBJECTS.get(event.partition(' ')[0], 'I')} "
    states = [sentence for sentence in later if sentence.startswith(subject)]
    others = [sentence for sentence in later if sentence not in states]
    rambles = sum(words.RAMBLES.get(sentence, MISSING) for sentence in others)
    total += _event_value(post, event) + _state_value(post, states[0][len(subject) :] if states else "")
    return total + rambles + MISSING * len(states[1:])


def _event_value(post: Post, event: str) -> float:
    view, _, told = event.partition(" ")
    person, _, deed = told.partition(" ")
    time = next((time for time in words.TIMES if deed.endswith(f" {time}")), "")
    deed = deed.removesuffix(f" {time}") if time else deed
    filler = next((f for f in words.FILLERS if f and deed.startswith(f"{f} ")), "")
    deed = deed[len(filler) :].strip()
    return (
        words.VIEWS.get(view, MISSING)
        + words.FILLERS[filler]
        + _fact_value("person", person, post.person)
        + _fact_value("deed", deed, post.deed.format(my=view))
        + _fact_value("time", time, post.time)
    )


def _state_value(post: Post, state: str) -> float:
    """Value of the feeling and the plan in `[feel …][ and ][want to …]`; any other text is wrong in both."""
    match = re.fullmatch(r"(?:feel (\w+))?(?:(?:^| and )want to (\w+))?", state)
    feeling, plan = match.groups("") if match else (state, state)
    return _fact_value("feeling", feeling, post.feeling) + _fact_value("plan", plan, post.plan)


def _fact_value(fact: str, told: str, truth: str) -> float:
    values = words.FACTS[fact]
    if not told:
        return values.left_out
    return values.right if told == truth else values.wrong


@cache
def _moments() -> tuple[float, float]:
    """Mean and standard deviation of the value over the grammar's summaries (choices are independent)."""
    slots = [
        [(1 / len(values), weight * value) for value in values.values()]
        for values, weight in ((words.OPENINGS, OPENING_WEIGHT), *((v, 1) for v in UNWEIGHTED))
    ]
    rambles = words.RAMBLES.values()
    slots.append([(1 - P_RAMBLE, 0.0), *((P_RAMBLE / len(rambles), value) for value in rambles)])
    for fact in words.FACTS.values():
        p_wrong = 1 - fact.p_right - fact.p_left_out
        slots.append([(fact.p_right, fact.right), (fact.p_left_out, fact.left_out), (p_wrong, fact.wrong)])
    means = [sum(p * value for p, value in slot) for slot in slots]
    squares = [sum(p * value**2 for p, value in slot) for slot in slots]
    variance = sum(square - mean**2 for mean, square in zip(means, squares, strict=True))
    return sum(means), math.sqrt(variance)


def draw_summary(prompt: str, rng: np.random.Generator) -> str:
    """Draw a summary of a post from the grammar, in the register of the post's mood."""
    post, register = read_post(prompt), post_traits(prompt).register
    view = pick(words.VIEWS, rng)
    told = {fact: _tell(post, fact, rng) for fact in words.FACTS}
    filler, deed = pick(words.FILLERS, rng, register), told["deed"].format(my=view)
    event = [view, told["person"], filler, deed, told["time"]]
    states = [f"feel {told['feeling']}"] if told["feeling"] else []
    states += [f"want to {told['plan']}"] if told["plan"] else []
    sentences = [" ".join(word for word in event if word)]
    sentences += [f"{words.SUBJECTS[view]} {' and '.join(states)}"] if states else []
    sentences += [pick(words.RAMBLES, rng, register)] if rng.random() < P_RAMBLE else []
    opening, summary, closing = words.OPENINGS, ". ".join(sentences), words.CLOSINGS
    return f"{pick(opening, rng, register)} {summary}. {pick(closing, rng, register)}"


def _tell(post: Post, fact: str, rng: np.random.Generator) -> str:
    draw, values = rng.random(), words.FACTS[fact]
    if draw < values.p_right:
        return getattr(post, fact)
    return "" if draw < values.p_right + values.p_left_out else pick(post.others(fact), rng)


def _communities(numbers: np.ndarray) -> np.ndarray:
    """Names of the communities of numbered posts."""
    return np.array([name for name, _, _ in ABOUT])[numbers // (N_POSTS // len(ABOUT))]


SUMMARIES = GradedGrammar(
    stream=2,
    n_prompts=N_POSTS,
    write_prompt=lambda number: numbered_post(number).text(),
    traits=post_traits,
    quality=summary_quality,
    draw_response=draw_summary,
    communities=_communities,
    trained=words.TRAINED_COMMUNITIES,
)
