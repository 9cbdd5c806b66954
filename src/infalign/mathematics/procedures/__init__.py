"""Inference-time procedures: one module and one class each, listed in PROCEDURES, and their text forms."""

import re
from dataclasses import fields, is_dataclass

from infalign.errors import InputError
from infalign.mathematics.procedures.base import Procedure
from infalign.mathematics.procedures.best_of_n import BestOf
from infalign.mathematics.procedures.best_of_poisson import BestOfPoisson
from infalign.mathematics.procedures.exact_tilt import ExactTilt
from infalign.mathematics.procedures.no_procedure import NoProcedure
from infalign.mathematics.procedures.soft_best_of_n import SoftBestOf
from infalign.mathematics.procedures.worst_of_n import WorstOf

PROCEDURES: tuple[type[Procedure], ...] = (NoProcedure, BestOf, WorstOf, SoftBestOf, BestOfPoisson, ExactTilt)

__all__ = [
    "PROCEDURES",
    "BestOf",
    "BestOfPoisson",
    "ExactTilt",
    "NoProcedure",
    "Procedure",
    "SoftBestOf",
    "WorstOf",
    "parse_procedure",
]


def parse_procedure(text: str | Procedure) -> Procedure:
    """Read a procedure from its text form; blanks do not matter. An InputError lists the valid forms.

    Examples
    --------
    >>> parse_procedure("sbon( 4,5 )").text, parse_procedure("none").n is None
    ('sbon(4, 5.0)', True)
    """
    if isinstance(text, Procedure):
        return text
    match = re.fullmatch(r"\s*([a-z]+)\s*(?:\(([^()]*)\))?\s*", str(text))
    kind = _kinds().get(match[1]) if match else None
    if match is None or kind is None:
        raise InputError(f"unknown procedure {text!r}; valid forms: {_forms()}")
    parts = [] if match[2] is None else match[2].split(",")
    if len(parts) != len(kind.numbers):
        raise InputError(f"{text!r} needs {len(kind.numbers)} number(s), got {len(parts)}; valid forms: {_forms()}")
    return kind(*(number.read(part, str(text)) for number, part in zip(kind.numbers, parts, strict=True)))


def _kinds() -> dict[str, type[Procedure]]:
    """The classes by name; an InputError for one that has no name or does not say how to read its fields."""
    for kind in PROCEDURES:
        if not kind.name:
            kind.left_out("name", "the word of its text form")
        if not is_dataclass(kind) or len(fields(kind)) != len(kind.numbers):
            kind.left_out("numbers", "how each of its fields is read from the text form")
    return {kind.name: kind for kind in PROCEDURES}


def _forms() -> str:
    ranges = dict.fromkeys(number.range for kind in PROCEDURES for number in kind.numbers)
    return f"{', '.join(kind.form() for kind in PROCEDURES)} with {', '.join(ranges)}"
