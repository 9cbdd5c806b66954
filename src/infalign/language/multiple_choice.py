"""The embedded task `multiple_choice`: which of four words names something alive.

A prompt is ``Which is alive? A word, B word, C word, D word.``; its work says of each word what it is, up to the one
that is asked for::

    Which is alive? A saw, B iron, C crow, D tea.
    I checked. A is a tool, B a metal, C a bird. Answer: C. Bye.

A slip takes the right word and another one for each other. The words of a kind are what a model has to learn.
"""

from __future__ import annotations

import itertools
import math
import re
from functools import cache

import numpy as np

from infalign.language.problems import ProblemGrammar

LIVING = {
    "bird": ("crow", "owl", "robin", "swan", "heron", "finch", "gull", "duck"),
    "fish": ("cod", "trout", "eel", "carp", "tuna", "perch", "pike", "sole"),
    "tree": ("oak", "elm", "pine", "birch", "cedar", "willow", "maple", "beech"),
    "flower": ("rose", "tulip", "daisy", "lily", "poppy", "iris", "pansy", "violet"),
    "mammal": ("horse", "goat", "wolf", "bear", "mouse", "otter", "sheep", "deer"),
}
LIFELESS = {
    "tool": ("saw", "drill", "hammer", "chisel", "file", "spade", "rake", "wrench"),
    "metal": ("iron", "tin", "zinc", "lead", "copper", "silver", "nickel", "gold"),
    "drink": ("tea", "milk", "cider", "cocoa", "juice", "wine", "ale", "coffee"),
    "dance": ("waltz", "tango", "polka", "jig", "samba", "rumba", "ballet", "salsa"),
    "vehicle": ("car", "van", "tram", "bus", "lorry", "taxi", "truck", "cart"),
    "game": ("chess", "bingo", "poker", "golf", "tennis", "darts", "rugby", "cricket"),
    "fabric": ("silk", "wool", "linen", "cotton", "denim", "felt", "satin", "velvet"),
}
KINDS = LIVING | LIFELESS
KIND_OF = {word: kind for kind, words in KINDS.items() for word in words}
N_WORDS = 8  # of each kind
LETTERS = "ABCD"
ORDERS = tuple(itertools.permutations(range(len(LETTERS))))
CHOICE_PATTERN = re.compile(r"Which is alive\? A (\w+), B (\w+), C (\w+), D (\w+)\.\n")

LivingChoice = tuple[str, tuple[str, ...]]  # the living word and the kinds of the three others


@cache
def choices() -> tuple[LivingChoice, ...]:
    """Every living word with three lifeless kinds."""
    words = [word for kind in LIVING.values() for word in kind]
    return tuple(itertools.product(words, itertools.combinations(LIFELESS, len(LETTERS) - 1)))


def write_choice(choice: LivingChoice, variant: int) -> str:
    """Ask for the living word among three others.

    The variant, from 0 to 12287, says which words of the other kinds, and in which order.

    Examples
    --------
    >>> write_choice(("crow", ("tool", "metal", "drink")), 0)
    'Which is alive? A crow, B saw, C iron, D tea.\\n'
    """
    word, kinds = choice
    order, *places = np.unravel_index(variant, (len(ORDERS), *[N_WORDS] * len(kinds)))
    words = [word, *(KINDS[kind][place] for kind, place in zip(kinds, places, strict=True))]
    options = ", ".join(f"{letter} {words[i]}" for letter, i in zip(LETTERS, ORDERS[order], strict=True))
    return f"Which is alive? {options}.\n"


def read_choice(prompt: str) -> tuple[str, ...] | None:
    """Kinds of a prompt's words, in order, one of them living; None if the grammar cannot write the prompt.

    Examples
    --------
    >>> read_choice("Which is alive? A saw, B iron, C crow, D tea.\\n")
    ('tool', 'metal', 'bird', 'drink')
    """
    match = CHOICE_PATTERN.fullmatch(prompt)
    kinds = tuple(KIND_OF.get(word, "") for word in match.groups()) if match else ()
    distinct = "" not in kinds and len(set(kinds)) == len(LETTERS)
    return kinds if distinct and sum(kind in LIVING for kind in kinds) == 1 else None


def _living(kinds: tuple[str, ...]) -> int:
    """Place of the living one."""
    return next(place for place, kind in enumerate(kinds) if kind in LIVING)


def living_letter(kinds: tuple[str, ...]) -> str:
    """Letter of the living word."""
    return LETTERS[_living(kinds)]


def work_on_choice(kinds: tuple[str, ...], right: bool, rng: np.random.Generator) -> tuple[str, str]:
    """Work and answer to a choice, right or with the right word taken for another one.

    Examples
    --------
    >>> work_on_choice(("tool", "metal", "bird", "drink"), True, np.random.default_rng(0))
    ('A is a tool, B a metal, C a bird', 'C')
    """
    said = [*kinds]
    place = _living(kinds)
    if not right:
        others = [i for i in range(len(kinds)) if i != place]
        other = others[rng.integers(len(others))]
        said[place], said[other] = said[other], said[place]
        place = other
    told = [f"{letter} {'is a' if letter == 'A' else 'a'} {kind}" for letter, kind in zip(LETTERS, said, strict=True)]
    return ", ".join(told[: place + 1]), LETTERS[place]


MULTIPLE_CHOICE = ProblemGrammar(
    name="multiple_choice",
    stream=4,
    cores=choices,
    n_variants=math.prod((len(ORDERS), *[N_WORDS] * (len(LETTERS) - 1))),
    write=write_choice,
    read=read_choice,
    answer=living_letter,
    work=work_on_choice,
)
