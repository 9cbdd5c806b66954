"""One look for every figure: a colour and a marker per transform, the same everywhere."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import seaborn as sns

from infalign.mathematics.procedures import parse_procedure

# Okabe and Ito's palette, distinguishable with every common colour blindness and in grey.
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
GREY = "#8C8C8C"

Line = str | tuple[int, tuple[float, ...]]
TRANSFORM_LOOKS: dict[str, tuple[str, str, Line]] = {
    "raw": ("#595959", "X", "-"),
    "identity": (BLUE, "o", "-"),
    "log": (SKY, "D", (0, (5, 1.5))),
    "exp(5)": (ORANGE, "^", (0, (5, 1.5))),
    "exp(10)": (VERMILION, "s", "-"),
    "exp(-5)": (PURPLE, "v", (0, (5, 1.5))),
    "exp(-10)": (GREEN, "P", "-"),
}
METHOD_MARKERS = {
    "ipo": "<",
    "dpo": ">",
    "bonbon": "h",
    "bond": "*",
    "bon-sft": "d",
    "vbon": "p",
    "rloo": "H",
}
OTHER_LOOKS = (("#882255", "p", "-"), ("#44AA99", "h", "-"), ("#999933", "8", "-"), ("#332288", "*", "-"))

CALIBRATION_LOOKS: dict[str, tuple[str, Line]] = {
    "identity": (BLACK, "-"),
    "square root": (SKY, (0, (4, 1.5))),
    "square": (ORANGE, (0, (1, 1))),
    "cube": (PURPLE, (0, (4, 1.2, 1, 1.2))),
    "quantile": (GREEN, "-"),
}

PRINT_SETTINGS: dict[str, Any] = {
    "font.size": 9.0,
    "axes.labelsize": 9.0,
    "axes.titlesize": 9.5,
    "axes.titleweight": "normal",
    "legend.fontsize": 8.5,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "legend.frameon": False,
    "svg.hashsalt": "infalign",
    "svg.fonttype": "path",
    "savefig.dpi": 200,
}


@dataclass(frozen=True)
class Look:
    """How a series is drawn: colour, marker, line style, and whether its markers are filled."""

    color: str
    marker: str
    line: Line
    filled: bool


@dataclass(frozen=True, order=True)
class Series:
    """Policies drawn as one: what differs among them is strength and seed only.

    Parameters
    ----------
    method : training method as in the metrics, e.g. "ppo".
    transform : text form of the transform, e.g. "exp(10)"; "raw" is the uncalibrated reward.
    calibrator : "empirical", "anchors(p)" or None for raw.
    n_rollouts : rollouts per prompt behind the calibration, or None for any.
    """

    method: str = "ppo"
    transform: str = "raw"
    calibrator: str | None = None
    n_rollouts: int | None = None

    @property
    def label(self) -> str:
        """Legend text.

        Examples
        --------
        >>> Series("ppo", "exp(10)", "anchors(1)").label
        'CTRL exp(10), anchors(1)'
        >>> Series("ppo", "raw").label
        'PPO, uncalibrated'
        """
        if self.method != "ppo":
            return f"{self.method.upper()} {'' if self.transform == 'raw' else self.transform}".strip()
        if self.transform == "raw":
            return "PPO, uncalibrated"
        suffix = "" if self.calibrator in (None, "empirical") else f", {self.calibrator}"
        rollouts = "" if self.n_rollouts is None else f", K = {self.n_rollouts}"
        return f"CTRL {self.transform}{suffix}{rollouts}"

    @property
    def look(self) -> Look:
        """Colour and line of the transform, marker of the method; hollow when anchored."""
        color, marker, line = transform_look(self.transform)
        filled = self.calibrator in (None, "empirical")
        return Look(color, METHOD_MARKERS.get(self.method, marker), line, filled)


def transform_look(transform: str) -> tuple[str, str, Line]:
    """Colour, marker and line style of a transform; a fixed one for each text form."""
    if transform.startswith("optimal"):
        return BLACK, "*", (0, (1.2, 1.2))
    known = TRANSFORM_LOOKS.get(transform)
    return known or OTHER_LOOKS[sum(map(ord, transform)) % len(OTHER_LOOKS)]


def procedure_name(procedure: str) -> str:
    """Name of a procedure in a title.

    Examples
    --------
    >>> procedure_name("bon(4)"), procedure_name("none")
    ('best-of-4', 'standard')
    """
    parsed = parse_procedure(procedure)
    names = {"none": "standard", "bon": f"best-of-{parsed.n}", "won": f"worst-of-{parsed.n}"}
    return names.get(parsed.name, parsed.text)


def print_style() -> AbstractContextManager:
    """Settings of every figure, in force inside a `with` block only."""
    settings: Any = {**sns.axes_style("ticks"), **PRINT_SETTINGS}
    return mpl.rc_context(settings)
