"""The embedded task `arithmetic`: a few things, two or three changes, and how many there are then.

A prompt is ``name has start things, step, then step[, then step]. How many now?``, its work the steps as sums::

    Ann has 4 pears, finds 3, then doubles them. How many now?
    Step by step. 4 + 3 = 7, so 7 x 2 = 14. Answer: 14. Good luck.

A slip is one step whose result is wrong by 1 or 2. What follows goes on from there, so the answer is wrong too.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from functools import cache

import numpy as np

from infalign.language.problems import ProblemGrammar

NAMES = ("Ann", "Ben", "Dee", "Eli", "Fay", "Gus", "Ivy", "Max")
THINGS = ("pears", "coins", "books", "shells", "pens", "cards", "stones", "cups")
STARTS = range(2, 10)
AMOUNTS = range(2, 6)  # found or lost in one step
FACTORS = {2: "doubles them", 3: "triples them"}
N_STEPS = (2, 3)
LARGEST = 20  # every total is from 1 to this
SLIPS = (-2, -1, 1, 2)
LINKS = ("so", "then", "next")

Step = tuple[str, int]  # +, - or x, and the amount
Sum = tuple[int, tuple[Step, ...]]  # the start and the steps


def _told(step: Step) -> str:
    sign, amount = step
    return FACTORS[amount] if sign == "x" else f"{'finds' if sign == '+' else 'loses'} {amount}"


STEPS = [("+", k) for k in AMOUNTS] + [("-", k) for k in AMOUNTS] + [("x", k) for k in FACTORS]
TOLD = {_told(step): step for step in STEPS}
SUM_PATTERN = re.compile(rf"({'|'.join(NAMES)}) has (\d) ({'|'.join(THINGS)}), (.+)\. How many now\?\n")


def totals(start: int, steps: Sequence[Step], slip: tuple[int, int] | None = None) -> list[int]:
    """Totals after each step; a slip (place, error) adds the error to the result of the step at that place.

    Examples
    --------
    >>> totals(4, [("+", 3), ("x", 2)])
    [7, 14]
    >>> totals(4, [("+", 3), ("x", 2)], slip=(0, 1))
    [8, 16]
    """
    after, total = [], start
    for place, (sign, amount) in enumerate(steps):
        total = {"+": total + amount, "-": total - amount, "x": total * amount}[sign]
        if slip is not None and slip[0] == place:
            total += slip[1]
        after.append(total)
    return after


@cache
def sums() -> tuple[Sum, ...]:
    """Every start with two or three steps whose totals all lie from 1 to `LARGEST`."""
    lists = [steps for n in N_STEPS for steps in itertools.product(STEPS, repeat=n)]
    return tuple((start, steps) for start in STARTS for steps in lists if _in_range(start, steps))


def _in_range(start: int, steps: Sequence[Step]) -> bool:
    return all(1 <= total <= LARGEST for total in totals(start, steps))


def write_sum(problem: Sum, variant: int) -> str:
    """Tell a sum; the variant, from 0 to 63, says of which name and thing.

    Examples
    --------
    >>> write_sum((4, (("+", 3), ("x", 2))), 0)
    'Ann has 4 pears, finds 3, then doubles them. How many now?\\n'
    """
    start, steps = problem
    name, thing = divmod(variant, len(THINGS))
    told = ", then ".join(map(_told, steps))
    return f"{NAMES[name]} has {start} {THINGS[thing]}, {told}. How many now?\n"


def read_sum(prompt: str) -> Sum | None:
    """Start and steps of a prompt; None if the grammar cannot write it.

    Examples
    --------
    >>> read_sum("Ivy has 9 cups, loses 2, then loses 5. How many now?\\n")
    (9, (('-', 2), ('-', 5)))
    """
    match = SUM_PATTERN.fullmatch(prompt)
    told = match[4].split(", then ") if match else []
    if match is None or len(told) not in N_STEPS or any(step not in TOLD for step in told):
        return None
    start, steps = int(match[2]), tuple(TOLD[step] for step in told)
    return (start, steps) if start in STARTS and _in_range(start, steps) else None


def sum_answer(problem: Sum) -> str:
    """Last total of a sum."""
    return str(totals(*problem)[-1])


def work_on_sum(problem: Sum, right: bool, rng: np.random.Generator) -> tuple[str, str]:
    """Work and answer to a sum, right or with one slip; no total is ever negative.

    Examples
    --------
    >>> work_on_sum((4, (("+", 3), ("x", 2))), True, np.random.default_rng(0))
    ('4 + 3 = 7, next 7 x 2 = 14', '14')
    """
    start, steps = problem
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


ARITHMETIC = ProblemGrammar(
    name="arithmetic",
    stream=3,
    cores=sums,
    n_variants=len(NAMES) * len(THINGS),
    write=write_sum,
    read=read_sum,
    answer=sum_answer,
    work=work_on_sum,
)
