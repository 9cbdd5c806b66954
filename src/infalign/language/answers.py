"""Answers that can be checked: what a response says its answer is, read from its text."""

from __future__ import annotations

import re

FINAL = re.compile(r"Answer: (-?\w+)")
LETTER = re.compile(r"(?i:\banswer)[\s*]*(?:\bis\b|:)(?:\W|boxed|text)*([A-J])(?![\w'])")


def final_answer(response: str) -> str | None:
    """Answer of a response to an embedded problem, a number or a letter: what follows its last `Answer:`.

    Examples
    --------
    >>> final_answer("Well. 4 + 3 = 7. Answer: 7. Bye.")
    '7'
    >>> final_answer("Answer: A. No, wait. Answer: -2.")
    '-2'
    >>> final_answer("Seven.") is None
    True
    """
    return _last(FINAL, response)


def answer_letter(response: str) -> str | None:
    """Letter, A to J, that a model's free text gives as its answer; the last one where it gives several.

    The word "answer" with a colon or "is" must stand before it; brackets, stars and TeX around the letter are
    ignored.

    Examples
    --------
    >>> answer_letter("Iron rusts, so the answer is (C).")
    'C'
    >>> answer_letter("Answer: A? No. **Answer:** $\\\\boxed{B}$")
    'B'
    >>> answer_letter("An answer is hard to find.") is None
    True
    """
    return _last(LETTER, response)


def _last(pattern: re.Pattern[str], text: str) -> str | None:
    answers = pattern.findall(text)
    return answers[-1] if answers else None
