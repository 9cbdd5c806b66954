"""The embedded task `multiple_choice`: which of four kinds a word is of.

A prompt is ``Which kind is word: kind (A), kind (B), kind (C) or kind (D)?``, its work says the kind::

    Which kind is crow: tree (A), metal (B), bird (C) or drink (D)?
    I checked. It is a bird (C). Answer: C. Bye.

A slip is another of the four kinds. The words of a kind are what a model has to learn.
"""

from __future__ import annotations

import itertools
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
LETTERS = "ABCD"
ORDERS = tuple(itertools.permutations(range(len(LETTERS))))
PROMPT = re.compile(r"Which kind is (\w+): (\w+) \(A\), (\w+) \(B\), (\w+) \(C\) or (\w+) \(D\)\?\n")

Choice = tuple[str, tuple[str, ...]]  # a word and three kinds that it is not of


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
    """Ask for the kind of a word.

    Parameters
    ----------
    choice : (word, kinds)
        The word and the three wrong kinds.
    variant : int
        The order of the four, from 0 to 23.

    Returns
    -------
    str

    Examples
    --------
    >>> write_prompt(("crow", ("tree", "metal", "drink")), 0)
    'Which kind is crow: bird (A), tree (B), metal (C) or drink (D)?\\n'
    """
    word, others = choice
    kinds = (KIND_OF[word], *others)
    *first, last = (f"{kinds[i]} ({letter})" for i, letter in zip(ORDERS[variant], LETTERS, strict=True))
    return f"Which kind is {word}: {', '.join(first)} or {last}?\n"


def read_prompt(prompt: str) -> tuple[str, tuple[str, ...]]:
    """Word and kinds of a prompt.

    Parameters
    ----------
    prompt : str

    Returns
    -------
    word : str
    kinds : tuple of str
        In the order of their letters.

    Raises
    ------
    InputError
        If the grammar cannot write the prompt.

    Examples
    --------
    >>> read_prompt("Which kind is crow: tree (A), metal (B), bird (C) or drink (D)?\\n")
    ('crow', ('tree', 'metal', 'bird', 'drink'))
    """
    match = PROMPT.fullmatch(prompt)
    word, *kinds = match.groups() if match else ("",)
    known = word in KIND_OF and KIND_OF[word] in kinds and set(kinds) <= set(KINDS)
    if not known or len(set(kinds)) < len(kinds):
        raise InputError(
            f"prompt {prompt!r} is not one of the embedded task multiple_choice; it has no answer"
        )
    return word, tuple(kinds)


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
    >>> solve("Which kind is crow: tree (A), metal (B), bird (C) or drink (D)?\\n")
    'C'
    """
    word, kinds = read_prompt(prompt)
    return LETTERS[kinds.index(KIND_OF[word])]


def write_work(prompt: str, right: bool, rng: np.random.Generator) -> tuple[str, str]:
    """Work and answer to a prompt, with the right kind or another one.

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
    >>> prompt = "Which kind is crow: tree (A), metal (B), bird (C) or drink (D)?\\n"
    >>> write_work(prompt, True, np.random.default_rng(0))
    ('It is a bird (C)', 'C')
    """
    word, kinds = read_prompt(prompt)
    places = [place for place, kind in enumerate(kinds) if (kind == KIND_OF[word]) == right]
    place = places[rng.integers(len(places))]
    return f"It is a {kinds[place]} ({LETTERS[place]})", LETTERS[place]


GRAMMAR = ProblemGrammar(
    stream=4, cores=choices, n_variants=len(ORDERS), write=write_prompt, solve=solve, work=write_work
)
