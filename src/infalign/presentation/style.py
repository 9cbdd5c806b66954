"""One look for every figure: a colour and a marker per transform, the same everywhere."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import seaborn as sns

from infalign.mathematics.procedures import parse_procedure
from infalign.records.methods import METHODS, Method

# Okabe and Ito's palette, distinguishable with every common colour blindness and in grey.
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
GREY = "#8C8C8C"

Line = str | tuple[int, tuple[float, ...]]
SERIES_KEY = ("method", "transform", "calibrator", "n_rollouts")
TRANSFORM_LOOKS: dict[str, tuple[str, str, Line]] = {
    "raw": ("#595959", "X", "-"),
    "identity": (BLUE, "o", "-"),
    "log": (SKY, "D", (0, (5, 1.5))),
    "exp(5)": (ORANGE, "^", (0, (5, 1.5))),
    "exp(10)": (VERMILION, "s", "-"),
    "exp(-5)": (PURPLE, "v", (0, (5, 1.5))),
    "exp(-10)": (GREEN, "P", "-"),
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

    @property
    def face(self) -> str:
        """Colour inside the markers."""
        return self.color if self.filled else "white"


@dataclass(frozen=True, order=True)
class Series:
    """Policies drawn as one: what differs among them is strength and seed only.

    Parameters
    ----------
    method : str
        Name of its settings in the configuration, e.g. "ppo".
    transform : str, optional
        Text form of the transform, e.g. "exp(10)". "raw" is the uncalibrated reward. None: the method takes no
        reward.
    calibrator : str, optional
        "empirical", "anchors(p)" or None for raw.
    n_rollouts : int, optional
        Rollouts a prompt behind the calibration. None: any.
    """

    method: str = "ppo"
    transform: str | None = "raw"
    calibrator: str | None = None
    n_rollouts: int | None = None

    @property
    def label(self) -> str:
        """Legend text.

        Examples
        --------
        >>> Series("ppo", "exp(10)", "anchors(1)").label
        'CTRL exp(10), anchors(1)'
        >>> Series("ppo", "raw").label, Series("rloo", "exp(10)").label
        ('PPO, uncalibrated', 'RLOO exp(10)')
        >>> Series("bon_sft", None).label, Series("vbon_bound", None).label
        ('BoN-SFT', 'vBoN bound')
        """
        name = "CTRL" if self.method == "ppo" and self.transform != "raw" else method_name(self.method)
        reward = ", uncalibrated" if self.transform == "raw" else f" {self.transform or ''}".rstrip()
        calibrator = "" if self.calibrator in (None, "empirical") else f", {self.calibrator}"
        rollouts = "" if self.n_rollouts is None else f", K = {self.n_rollouts}"
        return f"{name}{reward}{calibrator}{rollouts}"

    @property
    def look(self) -> Look:
        """Colour and line of the transform, marker of the method; hollow when anchored or a method's variant.

        A method that takes no reward has a colour of its own; a name that no method starts with gets
        another fixed one.
        """
        family = method_family(self.method) or self.method
        color, marker, line = transform_look(self.transform or family)
        filled = self.calibrator in (None, "empirical") and family == self.method
        method = METHODS.get(family, Method)
        color = color if self.transform else method.color or color
        return Look(color, method.marker or marker, line, filled)


def method_family(method: str) -> str | None:
    """Name the known method that a name of one's own begins with, the longest that fits.

    Examples
    --------
    >>> method_family("vbon_bound"), method_family("bon_sft"), method_family("mine")
    ('vbon', 'bon_sft', None)
    """
    known = [name for name in METHODS if method == name or method.startswith(f"{name}_")]
    return max(known, key=len, default=None)


def method_name(method: str) -> str:
    """Write a method as a reader knows it.

    Examples
    --------
    >>> method_name("jbond"), method_name("ipo_mean"), method_name("my_own")
    ('J-BOND', 'IPO mean', 'my own')
    """
    family = method_family(method)
    name = METHODS[family].display_name + method.removeprefix(family) if family else method
    return name.replace("_", " ")


def transform_look(transform: str) -> tuple[str, str, Line]:
    """Colour, marker and line style of a transform; a fixed one for each text form."""
    if transform.startswith("optimal"):
        return BLACK, "*", (0, (1.2, 1.2))
    known = TRANSFORM_LOOKS.get(transform)
    return known or OTHER_LOOKS[sum(map(ord, transform)) % len(OTHER_LOOKS)]


def series_order(series: Series) -> tuple:
    """Sort key: methods with a reward first, in the order of METHODS, uncalibrated before the transforms.

    Examples
    --------
    >>> names = [Series("vbon", None), Series("rloo", "log"), Series("ppo", "log"), Series("ppo", "raw")]
    >>> [series.label for series in sorted(names, key=series_order)]
    ['PPO, uncalibrated', 'CTRL log', 'RLOO log', 'vBoN']
    """
    family = method_family(series.method)
    place = list(METHODS).index(family) if family else len(METHODS)
    named = (series.method, series.transform != "raw", transform_order(series.transform or ""), series.label)
    return (series.transform is None, place, *named)


def transform_order(transform: str) -> tuple[int, str]:
    """Sort key: the paper's transforms in its order, others, then the optimal one."""
    order = ("identity", "log", "exp(5)", "exp(10)", "exp(-5)", "exp(-10)")
    known = order.index(transform) if transform in order else len(order)
    return (known + 10 * transform.startswith("optimal"), transform)


def procedure_name(procedure: str) -> str:
    """Name of a procedure in a title.

    Examples
    --------
    >>> procedure_name("bon(4)"), procedure_name("none")
    ('best-of-4', 'standard')
    """
    return parse_procedure(procedure).display_name


def print_style() -> AbstractContextManager:
    """Settings of every figure, in force inside a `with` block only."""
    settings: Any = {**sns.axes_style("ticks"), **PRINT_SETTINGS}
    return mpl.rc_context(settings)
