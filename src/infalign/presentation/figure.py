"""What a run knows of a figure before it is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class FigureEntry:
    """One figure of a run.

    Attributes
    ----------
    name : str
        Of its files in `results/<run>/figures/`.
    draw : str
        `module:function`. It takes `RunTables` and the options, and returns a matplotlib figure. A text, since
        who plans a run imports no plotting library.
    tables : tuple of str
        Tables of the run that it reads.
    caption : str
        For the report.
    options : mapping
        Further arguments of `draw`, writable as JSON.
    shared : tuple of str
        Further files that it reads, below `results/`.
    """

    name: str
    draw: str
    tables: tuple[str, ...]
    caption: str
    options: Mapping[str, Any] = field(default_factory=dict)
    shared: tuple[str, ...] = ()
