"""Figures of how many rollouts estimate the distribution of the reward."""

from __future__ import annotations

import numpy as np
import polars as pl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from infalign.presentation.style import BLACK, BLUE, GREY, ORANGE, print_style
from infalign.records.run_tables import RunTables

# Amini et al. 2025, table 1: M to the share of 5,000 prompts.
PAPER_REJECTIONS = {5: 0.0614, 20: 0.0402, 100: 0.0114, 200: 0.0006, 250: 0.0}
SAMPLING_LOOKS = {"nested": (BLUE, "o", "-", -0.06), "independent": (ORANGE, "s", "--", 0.06)}
SAMPLING_NAMES = {
    "nested": "M of the same rollouts (nested)",
    "independent": "M further rollouts (independent)",
}


def draw_estimation(tables: RunTables) -> Figure:
    """Draw the share of prompts for which M rollouts differ from many, against M.

    References
    ----------
    Amini et al., Variational best-of-N alignment (ICLR 2025), table 1, whose numbers are drawn too.
    """
    estimation = tables["estimation"]
    sizes = sorted(estimation["size"].unique())
    first = estimation.row(0, named=True)
    with print_style():
        figure = Figure(figsize=(5.2, 3.6), layout="constrained")
        axis = figure.subplots()
        for sampling, (color, marker, line, shift) in SAMPLING_LOOKS.items():
            rows = estimation.filter(sampling=sampling).sort("size")
            rate = rows["rejection_rate"].to_numpy()
            bars = np.abs(np.array([rows["ci_low"], rows["ci_high"]]) - rate)
            axis.errorbar(
                [sizes.index(size) + shift for size in rows["size"]], rate, yerr=bars, color=color, marker=marker,
                linestyle=line, markersize=5, elinewidth=0.9, label=SAMPLING_NAMES[sampling],
            )  # fmt: skip
        paper = {sizes.index(size): rate for size, rate in PAPER_REJECTIONS.items() if size in sizes}
        axis.plot(
            list(paper),
            list(paper.values()),
            color=BLACK,
            marker="x",
            linestyle="none",
            label="paper, table 1",
        )
        axis.axhline(first["level"], color=GREY, linewidth=0.9, linestyle=":", label="level of the test")
        axis.set_xticks(range(len(sizes)), [str(size) for size in sizes])
        axis.set(xlabel="Rollouts M", ylabel=f"Prompts that differ from {first['n_full']} rollouts (%)")
        axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=""))
        axis.set_ylim(bottom=-0.02 * axis.get_ylim()[1])  # a rate of 0 is seen whole
        axis.set_title(f"{first['task']}, {first['n_prompts']} prompts, {first['n_constant']} of one reward")
        figure.legend(loc="outside lower center", ncols=2)
        figure.suptitle("How many prompts' rewards M rollouts do not represent", fontsize=10.5)
    return figure


def draw_log_distribution(tables: RunTables) -> Figure:
    """Draw log F for each M and the fitted exponential curve, in a panel for each of three prompts.

    References
    ----------
    Amini et al., Variational best-of-N alignment (ICLR 2025), figure 3.
    """
    curves = tables["log_distribution"]
    kinds = list(curves["kind"].unique(maintain_order=True))
    sizes = sorted(curves["size"].unique())
    colors = dict(zip(sizes, sns.color_palette("viridis_r", len(sizes)), strict=True))
    with print_style():
        figure = Figure(figsize=(9.0, 3.4), layout="constrained")
        axes = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
        for axis, kind in zip(axes, kinds, strict=True):
            part = curves.filter(kind=kind)
            for size in sizes:
                rows = part.filter(size=size).sort("reward")
                axis.step(
                    rows["reward"], rows["log_f"], where="pre", color=colors[size], linewidth=1.2, label=f"M = {size}"
                )  # fmt: skip
            _draw_fit(axis, part)
            axis.set_title(f"{kind} prompt (mean reward {part['mean_reward'][0]:.2f})")
            axis.set_xlabel("Reward")
        axes[0].set_ylabel("log F (nats)")
        axes[0].set_ylim(1.1 * curves["log_f"].to_numpy().min(), 0.15)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        figure.suptitle("Estimates of log F from M rollouts of the reference", fontsize=10.5)
    return figure


def _draw_fit(axis: Axes, part: pl.DataFrame) -> None:
    log_a, b = part["log_a"][0], part["b"][0]
    seen = part["reward"].to_numpy()
    rewards = np.linspace(seen.min(), seen.max(), 200)
    curve = -np.exp(log_a - b * rewards)
    axis.plot(rewards, curve, color=BLACK, linewidth=1.0, linestyle="--", label="exponential fit")
