"""The embedded task `multiple_choice`: which of four words is one of a kind.

A prompt is ``Which is a kind? A word, B word, C word, D word.``; its work says of each word what it is, up to the one
that is asked for::

    Which is a bird? A oak, B iron, C crow, D tea.
    I checked. A is a tree, B a metal, C a bird. Answer: C. Bye.

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

KINDS = {
    "bird": ("crow", "owl", "robin", "swan", "heron", "finch", "gull", "duck"),
    "fish": ("cod", "trout", "eel", "carp", "tuna", "perch", "pike", "sole"),
    "tree": ("oak", "elm", "pine", "birch", "cedar", "willow", "maple", "beech"),
    "tool": ("saw", "drill", "hammer", "chisel", "file", "spade", "rake", "wrench"),
    "metal": ("iron", "tin", "zinc", "lead", "copper", "silver", "nickel", "gold"),
    "fruit": ("pear", "plum", "grape", "mango", "lemon", "fig", "cherry", "melon"),
    "drink": ("tea", "milk", "cider", "cocoa", "juice", "wine", "ale", "coffee"),
    "dance": ("waltz", "tango", "polka", "jig", "samba", "rumba", "ballet", "salsa"),
    "vehicle": ("car", "van", "tram", "bus", "lorry", "taxi", "truck", "cart"),
    "game": ("chess", "bingo", "poker", "golf", "tennis", "darts", "rugby", "cricket"),
    "fabric": ("silk", "wool", "linen", "cotton", "denim", "felt", "satin", "velvet"),
    "flower": ("rose", "tulip", "daisy", "lily", "poppy", "iris", "pansy", "violet"),
}
KIND_OF = {word: kind for kind, words in KINDS.items() for word in words}
N_WORDS = 8  # of each kind
LETTERS = "ABCD"
ORDERS = tuple(itertools.permutations(range(len(LETTERS))))
PROMPT = re.compile(r"Which is a (\w+)\? A (\w+), B (\w+), C (\w+), D (\w+)\.\n")

Choice = tuple[str, tuple[str, ...]]  # the right word and the kinds of the three others


@cache
def choices() -> tuple[Choice, ...]:
    """Every word with three kinds that it is not of.

    Returns
    -------
    tuple of (word, kinds)
    """
    return tuple(
        (word, others)
        for word, kind in KIND_OF.items()
        for others in itertools.combinations([other for other in KINDS if other != kind], len(LETTERS) - 1)
    )


def write_prompt(choice: Choice, variant: int) -> str:
    """Ask for a word among words of other kinds.

    Parameters
    ----------
    choice : (word, kinds)
        The right word and the kinds of the three others.
    variant : int
        Which words of those kinds, and in which order, from 0 to 12287.

    Returns
    -------
    str

    Examples
    --------
    >>> write_prompt(("crow", ("tree", "metal", "drink")), 0)
    'Which is a bird? A crow, B oak, C iron, D tea.\\n'
    """
    word, kinds = choice
    order, *places = np.unravel_index(variant, (len(ORDERS), *[N_WORDS] * len(kinds)))
    words = [word, *(KINDS[kind][place] for kind, place in zip(kinds, places, strict=True))]
    options = ", ".join(f"{letter} {words[i]}" for letter, i in zip(LETTERS, ORDERS[order], strict=True))
    return f"Which is a {KIND_OF[word]}? {options}.\n"


def read_prompt(prompt: str) -> tuple[str, tuple[str, ...]]:
    """Kind that a prompt asks for, and the kinds of its words in order.

    Parameters
    ----------
    prompt : str

    Returns
    -------
    kind : str
    kinds : tuple of str

    Raises
    ------
    InputError
        If the grammar cannot write the prompt.

    Examples
    --------
    >>> read_prompt("Which is a bird? A oak, B iron, C crow, D tea.\\n")
    ('bird', ('tree', 'metal', 'bird', 'drink'))
    """
    match = PROMPT.fullmatch(prompt)
    asked, *words = match.groups() if match else ("",)
    kinds = tuple(KIND_OF.get(word, "") for word in words)
    if asked not in kinds or "" in kinds or len(set(kinds)) < len(kinds):
        raise InputError(
            f"prompt {prompt!r} is not one of the embedded task multiple_choice; it has no answer"
        )
    return asked, kinds


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
    >>> solve("Which is a bird? A oak, B iron, C crow, D tea.\\n")
    'C'
    """
    asked, kinds = read_prompt(prompt)
    return LETTERS[kinds.index(asked)]


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
    >>> prompt = "Which is a bird? A oak, B iron, C crow, D tea.\\n"
    >>> write_work(prompt, True, np.random.default_rng(0))
    ('A is a tree, B a metal, C a bird', 'C')
    """
    asked, kinds = read_prompt(prompt)
    said = [*kinds]
    place = kinds.index(asked)
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
