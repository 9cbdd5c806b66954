"""Figures of hedging: how procedures hack a proxy, the four regimes, best-of-Poisson and the tilt, reward and KL."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from infalign.errors import InputError
from infalign.presentation.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    Line,
    print_style,
)
from infalign.records.run_tables import RunTables
from infalign.studies.hedging.block import METHODS

# By the place of a method among METHODS.
LOOKS: tuple[tuple[str, str, Line], ...] = (
    (BLUE, "o", "-"),
    (VERMILION, "s", (0, (5, 1.5))),
    (GREEN, "^", (0, (3, 1.2, 1, 1.2))),
    (PURPLE, "D", (0, (1, 1))),
    (SKY, "v", "--"),
    (ORANGE, "P", "-."),
)
NAMES = {"bon": "best-of-n", "sbon": "soft best-of-{n}", "bop": "best-of-Poisson", "tilt": "exact tilt"}
SERIES = ["method", "n"]
PAPER_KL_GAP = 8e-4  # nats; Khalaf et al. 2025
COLUMNS = 3


def series_name(method: str, n: int | None) -> str:
    """Write a procedure's family as a reader knows it; a new method goes by its name.

    Examples
    --------
    >>> series_name("sbon", 16), series_name("bop", None)
    ('soft best-of-16', 'best-of-Poisson')
    """
    return NAMES.get(method, method if n is None else f"{method}, n = {{n}}").format(n=n)


def _look(method: str) -> tuple[str, str, Line]:
    """Colour, marker and line of a method."""
    return LOOKS[METHODS.index(method) % len(LOOKS)]


def draw_hacking(tables: RunTables, *, task: str) -> Figure:
    """Draw true and proxy reward against KL, standardised by the reference, a panel for each proxy.

    Raises
    ------
    InputError
        The tables have nothing of the task.

    References
    ----------
    Khalaf et al. 2025, Inference-time reward hacking in large language models.
    """
    hacking, hedges = tables["hacking"], tables["hedges"]
    true, proxy = (
        (pl.col(f"expected_{name}") - pl.col(f"reference_{name}")) / pl.col(f"spread_{name}")
        for name in ("true", "proxy")
    )
    scaled = hacking.with_columns(expected_true=true, expected_proxy=proxy)
    constants = hacking.select("task", "proxy", "reference_true", "spread_true").unique()
    starred = hedges.join(constants, on=["task", "proxy"]).with_columns(expected_true=true)

    def draw(axis: Axes, curve: pl.DataFrame, hedge: dict) -> None:
        color, _, line = _look(hedge["method"])
        axis.plot(curve["kl"], curve["expected_proxy"], color=color, linestyle=line, linewidth=0.9, alpha=0.45)
        _draw_true(axis, curve, hedge)

    figure = _panels(scaled, starred, task, draw, "Reward over the reference's\n(spreads within a prompt)")
    axis = figure.axes[0]
    axis.plot([], [], color=GREY, linewidth=0.9, alpha=0.6, label="proxy (thin)")
    true_reward = starred.filter(task=task)["true_reward"][0]
    axis.plot([], [], color=GREY, linewidth=1.6, label=f"true reward: {true_reward} (thick)")
    return _titled(figure, f"What selection by a proxy does to the true reward: {task}")


def draw_tradeoff(tables: RunTables, *, task: str) -> Figure:
    """Draw the true reward's gain against KL with intervals, a panel for each proxy, and the hedges.

    Raises
    ------
    InputError
        The tables have nothing of the task.
    """

    def draw(axis: Axes, curve: pl.DataFrame, hedge: dict) -> None:
        color = _look(hedge["method"])[0]
        axis.fill_between(curve["kl"], curve["gain_low"], curve["gain_high"], color=color, alpha=0.1, linewidth=0)
        _draw_true(axis, curve, hedge)
        axis.vlines(hedge["kl"], hedge["reference_low"], hedge["reference_high"], color=BLACK, linewidth=0.8)
        last = curve.row(-1, named=True)
        axis.plot(last["kl"], last["expected_true"], color=color, marker="x", markersize=5, linestyle="none")

    gains = tables["hacking"].with_columns(expected_true="gain")
    gained = tables["hedges"].with_columns(expected_true="reference_difference")
    figure = _panels(gains, gained, task, draw, "True reward over the reference's")
    figure.axes[0].plot([], [], color=GREY, marker="x", linestyle="none", label="largest parameter")
    return _titled(figure, f"Reward and distortion: {task}")


def _panels(hacking: pl.DataFrame, hedges: pl.DataFrame, task: str, draw, ylabel: str) -> Figure:
    """A panel for each proxy, in which `draw` draws each procedure."""
    hacking, hedges = hacking.filter(task=task), hedges.filter(task=task)
    if hacking.is_empty() or hedges.is_empty():
        raise InputError(f"hacking: nothing of task {task}; hedge it with a pool of the block hedging")
    proxies = list(hedges["proxy"].unique(maintain_order=True))
    columns = min(len(proxies), COLUMNS)
    rows = -(-len(proxies) // columns)
    with print_style():
        figure = Figure(figsize=(0.6 + 3.3 * columns, 0.8 + 3.0 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for axis, proxy in zip(axes, proxies, strict=False):
            for hedge in hedges.filter(proxy=proxy).iter_rows(named=True):
                same = pl.col("method").eq(hedge["method"]) & pl.col("n").eq_missing(hedge["n"])
                draw(axis, hacking.filter(same, proxy=proxy).sort("parameter"), hedge)
            _scale_by_root(axis, hacking["kl"].to_numpy().max())
            axis.set_title(f"proxy: {proxy}")
            axis.set_xlabel("KL (nats)")
        for axis in axes[len(proxies) :]:
            axis.set_axis_off()
        for axis in axes[::columns]:
            axis.set_ylabel(ylabel)
        first = hedges.filter(proxy=proxies[0])
        for method, n in first.select(SERIES).iter_rows():
            color, marker, line = _look(method)
            axes[0].plot([], [], color=color, linestyle=line, marker=marker, label=series_name(method, n))
        axes[0].plot([], [], color=BLACK, marker="o", linestyle="none", label="hedge (by the other half)")
    return figure


def _scale_by_root(axis: Axes, largest: float) -> None:
    """KL from 0 to the largest on a square root scale, on which rewards start out as straight lines."""
    axis.set_xscale("function", functions=(lambda kl: np.sqrt(np.maximum(kl, 0)), np.square))
    axis.set_xlim(0, 1.05 * largest)
    ticks = [tick for tick in (0, 0.1, 0.5, 1, 2, 4, 6) if tick <= 1.05 * largest]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.xaxis.set_minor_locator(NullLocator())


def _draw_true(axis: Axes, curve: pl.DataFrame, hedge: dict) -> None:
    color, marker, line = _look(hedge["method"])
    axis.plot(curve["kl"], curve["expected_true"], color=color, linestyle=line, linewidth=1.6)
    axis.plot(
        hedge["kl"], hedge["expected_true"], color=color, marker=marker, markersize=7,
        markeredgecolor=BLACK, markeredgewidth=0.9, linestyle="none", zorder=5,
    )  # fmt: skip


def _titled(figure: Figure, title: str) -> Figure:
    with print_style():
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
        figure.suptitle(title, fontsize=10.5)
    return figure


def draw_regimes(tables: RunTables) -> Figure:
    """Draw the expected true reward of each procedure against KL, a panel for each of the four regimes.

    References
    ----------
    Khalaf et al. 2025, Inference-time reward hacking in large language models: the theorem on greedy methods.
    """
    regimes = tables["regimes"]
    shapes = list(regimes["shape"].unique(maintain_order=True))
    with print_style():
        figure = Figure(figsize=(2.4 * len(shapes), 3.2), layout="constrained")
        axes = figure.subplots(1, len(shapes), squeeze=False)[0]
        for axis, shape in zip(axes, shapes, strict=True):
            part = regimes.filter(shape=shape)
            for (method, n), curve in part.group_by(SERIES, maintain_order=True):
                color, _, line = _look(str(method))
                axis.plot(
                    curve["kl"], curve["expected_true"], color=color, linestyle=line,
                    label=series_name(str(method), n),  # type: ignore[arg-type]
                )  # fmt: skip
            (regime,) = part["regime"].unique()
            axis.set_title(f"{regime}\n(in u it {shape})")
            _scale_by_root(axis, regimes["kl"].to_numpy().max())
            axis.set_xlabel("KL (nats)")
        axes[0].set_ylabel("Expected true reward")
    return _titled(figure, "The four regimes of a true reward that changes direction at most once")


def draw_poisson_tilt(tables: RunTables) -> Figure:
    """Draw the KL that best-of-Poisson spends over the tilt, and the reward that it gives up, against its mean.

    References
    ----------
    Khalaf et al. 2025, Inference-time reward hacking in large language models: Best-of-Poisson.
    """
    gaps = tables["poisson_tilt"]
    panels = {
        "kl_gap": ("KL over the tilt's\nat the same mean of u (nats)", "{value:.2g} nats"),
        "reward_gap": ("Mean of u below\nthe tilt's at the same KL", "{value:.2g}"),
    }
    with print_style():
        figure = Figure(figsize=(7.6, 3.2), layout="constrained")
        for axis, (column, (label, form)) in zip(figure.subplots(1, 2), panels.items(), strict=True):
            axis.plot(gaps["mu"], gaps[column], color=GREEN)
            top = gaps.row(gaps[column].arg_max() or 0, named=True)
            axis.plot(top["mu"], top[column], color=BLACK, marker="o", markersize=4, linestyle="none")
            text = f"largest: {form.format(value=top[column])}\nat μ = {top['mu']:.3g}, KL {top['kl']:.2f}"
            axis.annotate(text, (top["mu"], top[column]), (9, -4), textcoords="offset points", va="top")
            axis.set_xscale("log")
            axis.set(xlabel="Mean of the Poisson distribution μ", ylabel=label)
            axis.set_ylim(bottom=0)
            axis.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
        bound = figure.axes[0]
        bound.axhline(PAPER_KL_GAP, color=ORANGE, linewidth=1.0, linestyle="--", label="paper: below 8e-4")
        bound.legend(loc="upper right")
        bound.set_ylim(0, 1.25 * PAPER_KL_GAP)
        figure.suptitle("Best-of-Poisson is nearly the exact tilt", fontsize=10.5)
    return figure
