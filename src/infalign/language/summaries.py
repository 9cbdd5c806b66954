"""The embedded corpus `summaries`: posts of eight communities and their summaries, with a known (gold) reward.

A post is ``community: mood Time my person deed. I feel feeling and want to plan. question``::

    work: I am in tears! Last night my boss read my mail. I feel hurt and want to leave. Is that fair?

A summary is ``opening whose person[ filler] deed[ time].[ who feels and wants.][ ramble.] closing``::

    In short: my boss simply read my mail last night. I want to leave. Advice welcome.

Its choices: the opening, the point of view (my, their or your), which facts of the post it keeps, whether each
is the post's or a wrong one, the filler, the ramble (and so the length) and the closing. The gold reward of summary y
of post x is that of the dialogues (`infalign.language.corpora`)::

    gold(x, y) = offset(x) + scale(x) · skewed(quality(x, y); skew(x))

The post's mood gives the scale, part of the offset and the register of its summaries, the community and the person
the rest of the offset, the question the skew. Nothing here comes from a data set.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl

from infalign.errors import InputError
from infalign.language.corpora import (
    CROSS_PROMPT,
    LIMIT,
    MISSING,
    REGISTERS,
    SHARES,
    Corpus,
    PromptTraits,
    pick,
    prompt_id,
    skewed,
)
from infalign.language.lexicon import HIGH, LOW, MIDDLE

# ---- words of a post ----

TRAINED_COMMUNITIES = ("relationships", "work")  # in distribution: policies are trained on these

MOODS = {  # scale and offset of the reward
    "Not a big deal.": (LOW, 2.4),
    "Funny story.": (LOW, 2.0),
    "Hello all.": (MIDDLE, 0.0),
    "New here.": (MIDDLE, 0.2),
    "I am in tears!": (HIGH, -2.4),
    "Please help now!": (HIGH, -2.0),
}

QUESTIONS = {  # skew of the reward
    "Is that fair?": -0.4,
    "Am I wrong?": -0.3,
    "What now?": -0.1,
    "Any advice?": 0.1,
    "Who is right?": 0.3,
    "What next?": 0.4,
}


@dataclass(frozen=True)
class Community:
    """Where a post is written.

    Attributes
    ----------
    offset : float
        Added to the reward.
    people : dict of str to float
        Who it is about, and what that adds to the offset.
    deeds : tuple of str
        What they did, with `{my}` for the point of view.
    """

    offset: float
    people: dict[str, float]
    deeds: tuple[str, ...]


COMMUNITIES = {
    "relationships": Community(
        0.6,
        {"wife": 1.7, "husband": -1.4, "ex": -2.2, "fiance": 1.9},
        (
            "forgot {my} birthday",
            "read {my} diary",
            "hid {my} ring",
            "kissed {my} friend",
            "left {my} party",
        ),
    ),
    "work": Community(
        -0.6,
        {"boss": 1.6, "client": -1.8, "intern": 2.1, "manager": -1.5},
        ("read {my} mail", "took {my} desk", "cut {my} hours", "lost {my} report", "sold {my} idea"),
    ),
    "family": Community(
        0.9,
        {"mother": -1.6, "brother": 1.8, "cousin": 2.0, "uncle": -2.1},
        ("sold {my} toys", "broke {my} lamp", "read {my} letters", "took {my} bed", "lost {my} coat"),
    ),
    "money": Community(
        -0.9,
        {"bank": 1.5, "lender": -1.9, "lawyer": 2.2, "agent": -1.6},
        (
            "kept {my} card",
            "sold {my} debt",
            "took {my} savings",
            "lost {my} loan",
            "raised {my} fees",
        ),
    ),
    "school": Community(
        0.3,
        {"tutor": 2.0, "dean": -1.7, "classmate": -2.0, "coach": 1.6},
        ("lost {my} essay", "read {my} notes", "broke {my} pen", "took {my} lunch", "missed {my} talk"),
    ),
    "housing": Community(
        -0.3,
        {"landlord": -2.1, "neighbour": 1.7, "tenant": -1.4, "plumber": 1.9},
        ("kept {my} deposit", "raised {my} rent", "broke {my} door", "cut {my} tree", "lost {my} keys"),
    ),
    "pets": Community(
        0.7,
        {"vet": 1.8, "sitter": -1.5, "breeder": -2.2, "groomer": 2.0},
        ("shaved {my} cat", "lost {my} dog", "scared {my} horse", "took {my} fish", "sold {my} parrot"),
    ),
    "travel": Community(
        -0.7,
        {"guide": -1.8, "driver": 1.5, "pilot": 2.2, "host": -1.7},
        (
            "lost {my} bag",
            "missed {my} flight",
            "kept {my} ticket",
            "sold {my} room",
            "took {my} car",
        ),
    ),
}

TIMES = ("last night", "on Monday", "in May", "at noon", "at dawn", "today")
FEELINGS = ("hurt", "angry", "scared", "guilty", "sad", "tired")
PLANS = ("leave", "talk", "wait", "forgive", "complain", "hide")

# ---- words of a summary, with their values before standardisation ----

OPENINGS = {
    "In short:": 2.04,
    "Brief:": 1.41,
    "Summed up:": 1.09,
    "The gist:": 0.68,
    "So:": 0.36,
    "My notes:": 0.04,
    "Okay, so": -0.31,
    "As I said:": -0.72,
    "Well, um,": -1.08,
    "Blah, blah,": -1.61,
    "Did not read,": -2.19,
}
VIEWS = {"my": 0.71, "their": 0.12, "your": -0.83}  # the poster's own view is the best
SUBJECTS = {"my": "I", "their": "They", "your": "You"}
FILLERS = {  # between the person and the deed
    "": 0.62,
    "simply": 0.37,
    "just": 0.21,
    "really": -0.04,
    "sort of": -0.38,
    "maybe": -0.61,
    "somehow": -0.82,
    "totally": -1.09,
}
RAMBLES = {  # a sentence that says nothing
    "Yes": -0.24,
    "Oh well": -0.42,
    "No idea": -0.63,
    "Ha ha": -0.78,
    "More later": -0.97,
    "Wait, what": -1.18,
}
CLOSINGS = {
    "Advice welcome.": 1.62,
    "Do help.": 1.21,
    "Tell me.": 0.93,
    "Thank you.": 0.61,
    "Your thoughts?": 0.37,
    "That is it.": 0.09,
    "The end.": -0.27,
    "Or so.": -0.64,
    "And so on.": -1.03,
    "Whatever.": -1.47,
    "Boring stuff.": -2.01,
}


@dataclass(frozen=True)
class Fact:
    """Values of a fact that a summary tells right, leaves out or tells wrong, and how often it does each."""

    right: float
    left_out: float
    wrong: float
    p_right: float
    p_left_out: float


FACTS = {  # the person and the deed are always told; leaving them out counts as wrong
    "person": Fact(0.4, -1.2, -1.2, 0.85, 0.0),
    "deed": Fact(0.6, -1.6, -1.6, 0.8, 0.0),
    "time": Fact(0.3, 0.0, -0.9, 0.45, 0.35),
    "feeling": Fact(0.4, -0.1, -1.0, 0.5, 0.25),
    "plan": Fact(0.5, -0.2, -1.1, 0.5, 0.25),
}
OPENING = 1.8  # weight of the opening, as for the dialogues: one choice sets the tail of the quality
P_RAMBLE = 0.2


@dataclass(frozen=True)
class Post:
    """The choices of a post, each a phrase of the lists above; `deed` still holds `{my}`."""

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
        community = COMMUNITIES[self.community]
        phrases = {
            "person": tuple(community.people),
            "deed": community.deeds,
            "time": TIMES,
            "feeling": FEELINGS,
            "plan": PLANS,
        }[fact]
        return tuple(phrase for phrase in phrases if phrase != getattr(self, fact))


@cache
def _lists() -> tuple[tuple, ...]:
    """The lists that a post is chosen from, in the order of `Post`; a community brings its people and deeds."""
    about = tuple(
        (name, person, deed) for name, c in COMMUNITIES.items() for person in c.people for deed in c.deeds
    )
    return about, tuple(MOODS), TIMES, FEELINGS, PLANS, tuple(QUESTIONS)


def n_posts() -> int:
    """How many different posts the grammar writes.

    Returns
    -------
    int

    Examples
    --------
    >>> n_posts()
    1244160
    """
    return math.prod(map(len, _lists()))


def _post(number: int) -> Post:
    """Post of a number from 0 to n_posts() - 1; each number is another post."""
    chosen = [
        choices[place]
        for choices, place in zip(_lists(), np.unravel_index(number, [len(c) for c in _lists()]), strict=True)
    ]
    (community, person, deed), mood, time, feeling, plan, question = chosen
    return Post(community, mood, time, person, deed, feeling, plan, question)


@cache
def _post_pattern() -> re.Pattern[str]:
    def one_of(name: str, phrases) -> str:
        return f"(?P<{name}>{'|'.join(map(re.escape, phrases))})"

    people = dict.fromkeys(person for c in COMMUNITIES.values() for person in c.people)
    deeds = dict.fromkeys(deed.format(my="my") for c in COMMUNITIES.values() for deed in c.deeds)
    times = [time[0].upper() + time[1:] for time in TIMES]
    return re.compile(
        f"{one_of('community', COMMUNITIES)}: {one_of('mood', MOODS)} {one_of('time', times)} my "
        f"{one_of('person', people)} {one_of('deed', deeds)}\\. I feel {one_of('feeling', FEELINGS)} and want to "
        f"{one_of('plan', PLANS)}\\. {one_of('question', QUESTIONS)}\n"
    )


def read_post(prompt: str) -> Post:
    """Choices of a post, from its text.

    Parameters
    ----------
    prompt : str
        A post of the grammar, with its line end.

    Returns
    -------
    Post

    Raises
    ------
    InputError
        If the grammar cannot write it.

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
        community = COMMUNITIES[parts["community"]]
        if parts["person"] in community.people and parts["deed"] in community.deeds:
            return Post(**parts)
    raise InputError(f"prompt {prompt!r} is not a post of the embedded task summaries; it has no gold reward")


def post_traits(prompt: str) -> PromptTraits:
    """Scale, offset and skew of a post's gold reward and the register of its summaries.

    Parameters
    ----------
    prompt : str

    Returns
    -------
    PromptTraits
        `nouns` holds the person.

    Raises
    ------
    InputError
        If the grammar cannot write the post.
    """
    return _traits(read_post(prompt))


def _traits(post: Post) -> PromptTraits:
    scale, offset = MOODS[post.mood]
    community = COMMUNITIES[post.community]
    offset += community.offset + community.people[post.person]
    return PromptTraits(REGISTERS[scale], scale, offset, QUESTIONS[post.question], (post.person,))


def quality(prompt: str, response: str) -> float:
    """Value of a summary's choices, standardised over the grammar's summaries of the post.

    Parameters
    ----------
    prompt : str
    response : str
        Any text; what the grammar does not know counts as missing or wrong.

    Returns
    -------
    float
        In [-3, 3]; mean near 0 and variance near 1 over demonstrations.

    Raises
    ------
    InputError
        If the grammar cannot write the post.
    """
    mean, deviation = _moments()
    value = _value(read_post(prompt), response)
    return float(np.clip((value - mean) / deviation, -LIMIT, LIMIT))


def gold_reward(prompt: str, response: str, *, null: bool = False) -> float:
    """Gold reward of a summary: a pure function of the two texts, never used for training.

    Parameters
    ----------
    prompt, response : str
    null : bool
        For the null corpus: the reward is the post's offset, whatever the summary.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If the grammar cannot write the post.

    Examples
    --------
    >>> post = "work: New here. In May my boss took my desk. I feel tired and want to wait. What now?\\n"
    >>> good = "In short: my boss took my desk. I want to wait. Thank you."
    >>> gold_reward(post, good) > gold_reward(post, good.replace("boss", "client"))
    True
    """
    traits = post_traits(prompt)
    if null:
        return traits.offset
    return traits.offset + traits.scale * skewed(quality(prompt, response), traits.skew)


def _value(post: Post, response: str) -> float:
    text = response.strip()
    opening = max((o for o in OPENINGS if text.startswith(o)), key=len, default="")
    closing = max((c for c in CLOSINGS if text.endswith(c)), key=len, default="")
    middle = text[len(opening) : max(len(text) - len(closing), len(opening))]
    sentences = [part.strip() for part in middle.split(".") if part.strip()]
    total = OPENING * OPENINGS.get(opening, MISSING) + CLOSINGS.get(closing, MISSING)
    event, rest = (sentences[0], sentences[1:]) if sentences else ("", [])
    view = event.partition(" ")[0]
    state = f"{SUBJECTS.get(view, 'I')} "
    states = [sentence for sentence in rest if sentence.startswith(state)]
    others = [sentence for sentence in rest if sentence not in states]
    rambles = sum(RAMBLES.get(sentence, MISSING) for sentence in others)
    total += _event_value(post, event) + _state_value(post, states[0][len(state) :] if states else "")
    return total + rambles + MISSING * len(states[1:])


def _event_value(post: Post, event: str) -> float:
    view, _, rest = event.partition(" ")
    person, _, deed = rest.partition(" ")
    time = next((time for time in TIMES if deed.endswith(f" {time}")), "")
    deed = deed.removesuffix(f" {time}") if time else deed
    filler = next((f for f in FILLERS if f and deed.startswith(f"{f} ")), "")
    deed = deed[len(filler) :].strip()
    told = post.deed.format(my=view)
    return (
        VIEWS.get(view, MISSING)
        + FILLERS[filler]
        + _fact_value("person", person, post.person)
        + _fact_value("deed", deed, told)
        + _fact_value("time", time, post.time)
    )


def _state_value(post: Post, state: str) -> float:
    """Value of the feeling and the plan in `[feel …][ and ][want to …]`; any other text is wrong in both."""
    match = re.fullmatch(r"(?:feel (\w+))?(?:(?:^| and )want to (\w+))?", state)
    feeling, plan = match.groups("") if match else (state, state)
    return _fact_value("feeling", feeling, post.feeling) + _fact_value("plan", plan, post.plan)


def _fact_value(fact: str, told: str, truth: str) -> float:
    values = FACTS[fact]
    if not told:
        return values.left_out
    return values.right if told == truth else values.wrong


@cache
def _moments() -> tuple[float, float]:
    """Mean and standard deviation of the value over the grammar's summaries (choices are independent)."""
    slots = [
        [(1 / len(words), weight * value) for value in words.values()]
        for words, weight in ((OPENINGS, OPENING), (VIEWS, 1), (FILLERS, 1), (CLOSINGS, 1))
    ]
    slots.append([(1 - P_RAMBLE, 0.0)] + [(P_RAMBLE / len(RAMBLES), value) for value in RAMBLES.values()])
    for fact in FACTS.values():
        p_wrong = 1 - fact.p_right - fact.p_left_out
        slots.append([(fact.p_right, fact.right), (fact.p_left_out, fact.left_out), (p_wrong, fact.wrong)])
    means = [sum(p * value for p, value in slot) for slot in slots]
    squares = [sum(p * value**2 for p, value in slot) for slot in slots]
    variance = sum(square - mean**2 for mean, square in zip(means, squares, strict=True))
    return sum(means), math.sqrt(variance)


def write_summary(prompt: str, rng: np.random.Generator) -> str:
    """Draw a summary of a post from the grammar.

    Openings, fillers, rambles and closings follow the register of the post's mood, as in the dialogues.

    Parameters
    ----------
    prompt : str
    rng : numpy.random.Generator

    Returns
    -------
    str

    Raises
    ------
    InputError
        If the grammar cannot write the post.
    """
    post = read_post(prompt)
    register = _traits(post).register
    view = pick(VIEWS, rng)
    told = {fact: _tell(post, fact, rng) for fact in FACTS}
    event = [view, told["person"], pick(FILLERS, rng, register), told["deed"].format(my=view), told["time"]]
    states = [f"feel {told['feeling']}"] if told["feeling"] else []
    states += [f"want to {told['plan']}"] if told["plan"] else []
    sentences = [" ".join(word for word in event if word)]
    sentences += [f"{SUBJECTS[view]} {' and '.join(states)}"] if states else []
    sentences += [pick(RAMBLES, rng, register)] if rng.random() < P_RAMBLE else []
    return f"{pick(OPENINGS, rng, register)} {'. '.join(sentences)}. {pick(CLOSINGS, rng, register)}"


def _tell(post: Post, fact: str, rng: np.random.Generator) -> str:
    draw, values = rng.random(), FACTS[fact]
    if draw < values.p_right:
        return getattr(post, fact)
    return "" if draw < values.p_right + values.p_left_out else pick(post.others(fact), rng)


def summaries_corpus(
    seed: int,
    *,
    n_demonstrations: int,
    n_train_prompts: int,
    n_evaluation_prompts: int,
    n_evaluation_out_prompts: int,
    n_pairs: int,
    n_test_pairs: int,
    null: bool = False,
) -> Corpus:
    """Write the corpus; the same arguments give the same texts.

    Demonstrations and pairs come from all communities. Training and evaluation prompts come from
    `TRAINED_COMMUNITIES`, those of `evaluation_out` from the others. The posts of demonstrations (the training
    prompts of policies among them), both evaluations, and each split of pairs are disjoint.

    Parameters
    ----------
    seed : int
    n_demonstrations : int
    n_train_prompts, n_evaluation_prompts, n_evaluation_out_prompts : int
        Prompts with rollouts.
    n_pairs, n_test_pairs : int
        Preference pairs of the reward model, and as many of the judge.
    null : bool
        Preferences are coin flips and the gold reward does not depend on the summary.

    Returns
    -------
    Corpus
        `prompts` has the further column `community` and the further split `evaluation_out`.

    Raises
    ------
    InputError
        If more prompts are asked for than the grammar writes.
    """
    split_rng, demonstration_rng, pair_rng = np.random.default_rng([seed, 2]).spawn(3)
    groups = _split_posts(split_rng)
    numbers = demonstration_rng.choice(groups["demonstrations"], n_demonstrations)
    posts = [_post(number).text() for number in numbers]
    sizes = {"reward_train": n_pairs, "reward_test": n_test_pairs}
    sizes |= {"judge_train": n_pairs, "judge_test": n_test_pairs}
    pairs = [
        _write_pairs(groups[split], n, null, child).with_columns(split=pl.lit(split))
        for (split, n), child in zip(sizes.items(), pair_rng.spawn(len(sizes)), strict=True)
    ]
    evaluation = groups["evaluation"]
    prompts = [
        _prompts_frame("train", groups["demonstrations"], n_train_prompts),
        _prompts_frame("evaluation", evaluation, n_evaluation_prompts),
        _prompts_frame("evaluation_out", evaluation, n_evaluation_out_prompts),
    ]
    summaries = [write_summary(post, demonstration_rng) for post in posts]
    demonstrations = pl.DataFrame({"prompt": posts, "response": summaries})
    return Corpus(demonstrations=demonstrations, pairs=pl.concat(pairs), prompts=pl.concat(prompts))


def _split_posts(rng: np.random.Generator) -> dict[str, np.ndarray]:
    numbers = rng.permutation(n_posts())
    ends = (np.cumsum(list(SHARES.values())) * len(numbers)).round().astype(int)
    return dict(zip(SHARES, np.split(numbers, ends[:-1]), strict=True))


def _prompts_frame(split: str, numbers: np.ndarray, n: int) -> pl.DataFrame:
    """The first n posts of a group that are in, or for `evaluation_out` out of, the trained communities."""
    per_post = n_posts() // len(_lists()[0])
    trained = [community in TRAINED_COMMUNITIES for community, _, _ in _lists()[0]]
    wanted = numbers[np.array(trained)[numbers // per_post] != (split == "evaluation_out")]
    if n > len(wanted):
        raise InputError(f"corpus.n_{split}_prompts must be at most {len(wanted)}, got {n}; lower it")
    posts = [_post(number) for number in wanted[:n]]
    rows = [(prompt_id(post.text()), post.text(), split, post.community) for post in posts]
    schema = dict.fromkeys(("prompt_id", "prompt", "split", "community"), pl.String)
    return pl.DataFrame(rows, schema=schema, orient="row")


def _write_pairs(numbers: np.ndarray, n: int, null: bool, rng: np.random.Generator) -> pl.DataFrame:
    """Noisy Bradley-Terry preferences between two summaries drawn from the grammar."""
    rows = []
    for number in rng.choice(numbers, n):
        other = rng.choice(numbers) if rng.random() < CROSS_PROMPT else number
        posts = (_post(number).text(), _post(other).text())
        sides = [(post, write_summary(post, rng)) for post in posts]
        margin = 0.0 if null else gold_reward(*sides[0]) - gold_reward(*sides[1])
        if rng.random() >= 1 / (1 + math.exp(-margin)):
            sides.reverse()
        (chosen_prompt, chosen), (rejected_prompt, rejected) = sides
        rows.append((chosen_prompt, chosen, rejected, rejected_prompt))
    return pl.DataFrame(rows, schema=["prompt", "chosen", "rejected", "rejected_prompt"], orient="row")
