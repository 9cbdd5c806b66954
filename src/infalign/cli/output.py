"""Rows to standard output: one JSON object a line, or a CSV table; numbers unrounded."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Mapping, Sequence


def print_rows(rows: Sequence[Mapping[str, object]], form: str) -> None:
    """Print result rows of equal keys in a form, json or csv; an undefined number (None, NaN) becomes null or empty.

    Examples
    --------
    >>> print_rows([{"n": 4, "ci_low": float("nan")}], "json")
    {"n": 4, "ci_low": null}
    """
    plain = [{key: _plain(value) for key, value in row.items()} for row in rows]
    if form == "json":
        for row in plain:
            print(json.dumps(row, allow_nan=False))
        return
    writer = csv.DictWriter(sys.stdout, fieldnames=list(plain[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(plain)


def _plain(value: object) -> object:
    """A Python scalar for a numpy one, None for a number that is not finite."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
