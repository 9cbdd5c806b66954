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

from infalign.errors import InputError
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
PROMPT = re.compile(r"Which is alive\? A (\w+), B (\w+), C (\w+), D (\w+)\.\n")

Choice = tuple[str, tuple[str, ...]]  # the living word and the kinds of the three others


@cache
def choices() -> tuple[Choice, ...]:
    """Every living word with three lifeless kinds.

    Returns
    -------
    tuple of (word, kinds)
    """
    words = [word for kind in LIVING.values() for word in kind]
    return tuple(itertools.product(words, itertools.combinations(LIFELESS, len(LETTERS) - 1)))


def write_prompt(choice: Choice, variant: int) -> str:
    """Ask for the living word among three others.

    Parameters
    ----------
    choice : (word, kinds)
        The living word and the kinds of the three others.
    variant : int
        Which words of those kinds, and in which order, from 0 to 12287.

    Returns
    -------
    str

    Examples
    --------
    >>> write_prompt(("crow", ("tool", "metal", "drink")), 0)
    'Which is alive? A crow, B saw, C iron, D tea.\\n'
    """
    word, kinds = choice
    order, *places = np.unravel_index(variant, (len(ORDERS), *[N_WORDS] * len(kinds)))
    words = [word, *(KINDS[kind][place] for kind, place in zip(kinds, places, strict=True))]
    options = ", ".join(f"{letter} {words[i]}" for letter, i in zip(LETTERS, ORDERS[order], strict=True))
    return f"Which is alive? {options}.\n"


def read_prompt(prompt: str) -> tuple[str, ...]:
    """Kinds of a prompt's words, in order; one of them is living.

    Parameters
    ----------
    prompt : str

    Returns
    -------
    tuple of str

    Raises
    ------
    InputError
        If the grammar cannot write the prompt.

    Examples
    --------
    >>> read_prompt("Which is alive? A saw, B iron, C crow, D tea.\\n")
    ('tool', 'metal', 'bird', 'drink')
    """
    match = PROMPT.fullmatch(prompt)
    kinds = tuple(KIND_OF.get(word, "") for word in match.groups()) if match else ()
    if "" in kinds or len(set(kinds)) < len(LETTERS) or sum(kind in LIVING for kind in kinds) != 1:
        raise InputError(
            f"prompt {prompt!r} is not one of the embedded task multiple_choice; it has no answer"
        )
    return kinds


def _living(kinds: tuple[str, ...]) -> int:
    """Place of the living one."""
    return next(place for place, kind in enumerate(kinds) if kind in LIVING)


def solve(prompt: str) -> str:
    """Right letter of a prompt.

    Parameters
    ----------
    prompt : str

    Returns
    -------
    str

    Raises
    ------
    InputError
        If the grammar cannot write the prompt.

    Examples
    --------
    >>> solve("Which is alive? A saw, B iron, C crow, D tea.\\n")
    'C'
    """
    return LETTERS[_living(read_prompt(prompt))]


def write_work(prompt: str, right: bool, rng: np.random.Generator) -> tuple[str, str]:
    """Work and answer to a prompt, right or with the right word taken for another one.

    Parameters
    ----------
    prompt : str
    right : bool
    rng : numpy.random.Generator

    Returns
    -------
    work, answer : str

    Raises
    ------
    InputError
        If the grammar cannot write the prompt.

    Examples
    --------
    >>> prompt = "Which is alive? A saw, B iron, C crow, D tea.\\n"
    >>> write_work(prompt, True, np.random.default_rng(0))
    ('A is a tool, B a metal, C a bird', 'C')
    """
    kinds = read_prompt(prompt)
    said = [*kinds]
    place = _living(kinds)
    if not right:
        others = [i for i in range(len(kinds)) if i != place]
        other = others[rng.integers(len(others))]
        said[place], said[other] = said[other], said[place]
        place = other
    told = [
        f"{letter} {'is a' if letter == 'A' else 'a'} {kind}"
        for letter, kind in zip(LETTERS, said, strict=True)
    ]
    return ", ".join(told[: place + 1]), LETTERS[place]


GRAMMAR = ProblemGrammar(
    stream=4,
    cores=choices,
    n_variants=math.prod((len(ORDERS), *[N_WORDS] * (len(LETTERS) - 1))),
    write=write_prompt,
    solve=solve,
    work=write_work,
)
