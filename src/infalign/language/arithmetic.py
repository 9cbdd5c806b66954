"""The embedded task `arithmetic`: a few things, two or three changes, and how many there are then.

A prompt is ``name has start things, step, then step[, then step]. How many now?``, its work the steps as sums::

    Ann has 4 pears, finds 3, then doubles them. How many now?
    Step by step. 4 + 3 = 7, so 7 x 2 = 14. Answer: 14. Good luck.

A slip is one step whose result is wrong by 1 or 2; what follows goes on from there, so the answer is wrong too.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from functools import cache

import numpy as np

from infalign.errors import InputError
from infalign.language.problems import ProblemGrammar

NAMES = ("Ann", "Ben", "Dee", "Eli", "Fay", "Gus", "Ivy", "Max")
THINGS = ("pears", "coins", "books", "shells", "pens", "cards", "stones", "cups")
STARTS = range(2, 10)
AMOUNTS = range(2, 6)  # found or lost in one step
TIMES = {2: "doubles them", 3: "triples them"}
N_STEPS = (2, 3)
LARGEST = 20  # every total is from 1 to this
SLIPS = (-2, -1, 1, 2)
LINKS = ("so", "then", "next")

Step = tuple[str, int]  # +, - or x, and the amount
Sum = tuple[int, tuple[Step, ...]]  # the start and the steps


def _told(step: Step) -> str:
    sign, amount = step
    return TIMES[amount] if sign == "x" else f"{'finds' if sign == '+' else 'loses'} {amount}"


STEPS = [("+", k) for k in AMOUNTS] + [("-", k) for k in AMOUNTS] + [("x", k) for k in TIMES]
TOLD = {_told(step): step for step in STEPS}
PROMPT = re.compile(rf"({'|'.join(NAMES)}) has (\d) ({'|'.join(THINGS)}), (.+)\. How many now\?\n")


def totals(start: int, steps: Sequence[Step], slip: tuple[int, int] | None = None) -> list[int]:
    """Totals after each step.

    Parameters
    ----------
    start : int
    steps : sequence of (sign, amount)
        The sign is +, - or x.
    slip : (place, error), optional
        Adds the error to the result of the step at that place.

    Returns
    -------
    list of int

    Examples
    --------
    >>> totals(4, [("+", 3), ("x", 2)])
    [7, 14]
    >>> totals(4, [("+", 3), ("x", 2)], slip=(0, 1))
    [8, 16]
    """
    found, total = [], start
    for place, (sign, amount) in enumerate(steps):
        total = {"+": total + amount, "-": total - amount, "x": total * amount}[sign]
        if slip is not None and slip[0] == place:
            total += slip[1]
        found.append(total)
    return found


@cache
def sums() -> tuple[Sum, ...]:
    """Every start with two or three steps whose totals all lie from 1 to `LARGEST`.

    Returns
    -------
    tuple of (start, steps)
    """
    lists = [steps for n in N_STEPS for steps in itertools.product(STEPS, repeat=n)]
    return tuple(
        (start, steps)
        for start in STARTS
        for steps in lists
        if all(1 <= total <= LARGEST for total in totals(start, steps))
    )


@cache
def _known_sums() -> frozenset[Sum]:
    return frozenset(sums())


def write_prompt(problem: Sum, variant: int) -> str:
    """Tell a sum.

    Parameters
    ----------
    problem : (start, steps)
    variant : int
        Which name and thing, from 0 to 63.

    Returns
    -------
    str

    Examples
    --------
    >>> write_prompt((4, (("+", 3), ("x", 2))), 0)
    'Ann has 4 pears, finds 3, then doubles them. How many now?\\n'
    """
    start, steps = problem
    name, thing = divmod(variant, len(THINGS))
    told = ", then ".join(map(_told, steps))
    return f"{NAMES[name]} has {start} {THINGS[thing]}, {told}. How many now?\n"


def read_prompt(prompt: str) -> Sum:
    """Start and steps of a prompt.

    Parameters
    ----------
    prompt : str

    Returns
    -------
    (start, steps)

    Raises
    ------
    InputError
        If the grammar cannot write the prompt.

    Examples
    --------
    >>> read_prompt("Ivy has 9 cups, loses 2, then loses 5. How many now?\\n")
    (9, (('-', 2), ('-', 5)))
    """
    match = PROMPT.fullmatch(prompt)
    told = match[4].split(", then ") if match else []
    if match and all(step in TOLD for step in told):
        problem = int(match[2]), tuple(TOLD[step] for step in told)
        if problem in _known_sums():
            return problem
    raise InputError(f"prompt {prompt!r} is not one of the embedded task arithmetic; it has no answer")


def solve(prompt: str) -> str:
    """Right answer of a prompt.

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
    >>> solve("Ann has 4 pears, finds 3, then doubles them. How many now?\\n")
    '14'
    """
    return str(totals(*read_prompt(prompt))[-1])


def write_work(prompt: str, right: bool, rng: np.random.Generator) -> tuple[str, str]:
    """Work and answer to a prompt, right or with one slip; no total is ever negative.

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
    >>> prompt = "Ann has 4 pears, finds 3, then doubles them. How many now?\\n"
    >>> write_work(prompt, True, np.random.default_rng(0))
    ('4 + 3 = 7, next 7 x 2 = 14', '14')
    """
    start, steps = read_prompt(prompt)
    slip = None
    if not right:
        place = int(rng.integers(len(steps)))
        slips = [(place, error) for error in SLIPS if min(totals(start, steps, (place, error))) >= 0]
        slip = slips[rng.integers(len(slips))]
    after = totals(start, steps, slip)
    equations = [
        f"{before} {sign} {amount} = {total}"
        for before, (sign, amount), total in zip([start, *after], steps, after, strict=False)
    ]
    link = LINKS[rng.integers(len(LINKS))]
    return f", {link} ".join(equations), str(after[-1])


GRAMMAR = ProblemGrammar(
    stream=3,
    cores=sums,
    n_variants=len(NAMES) * len(THINGS),
    write=write_prompt,
    solve=solve,
    work=write_work,
)
