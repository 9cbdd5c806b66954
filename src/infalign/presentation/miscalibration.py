"""Figure of how far reward scores are from ranks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from infalign.presentation.calibration_errors import MAPS, errors_by_map, sigmoid_table
from infalign.presentation.panels import LIMIT_LINE
from infalign.presentation.style import BLACK, CALIBRATION_LOOKS, print_style
from infalign.records.run_tables import RunTables

PROMPTS_SHOWN, RESPONSES_SHOWN = 10, 100
SEED = 0


def draw_calibration(tables: RunTables, *, task: str) -> Figure:
    """Draw how far reward scores are from calibrated, and what a per-prompt quantile map leaves.

    Left: score (the sigmoid of the reward less the mean reward of all prompts) against rank, for some
    prompts. Right: distribution of the absolute error |score - rank| over all prompts. The quantile map
    is measured out of sample: half of each prompt's rollouts make the table, the other half are measured.

    References
    ----------
    Balashankar et al., InfAlign (arXiv:2412.19792v1), section 6.2, figure 2.
    """
    scores: Any = tables.scores(task)
    with print_style():
        figure = Figure(figsize=(7.2, 3.5), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_scatter(left, sigmoid_table(scores), np.random.default_rng([SEED, 1]))
        _draw_error_distribution(right, errors_by_map(scores, seed=SEED))
        figure.suptitle(f"Calibration of the reward model: {task}", fontsize=10.5)
    return figure


def _draw_scatter(axis: Axes, table: pl.DataFrame, rng: np.random.Generator) -> None:
    prompts = table["prompt_id"].unique(maintain_order=True).to_numpy()
    shown = np.sort(rng.choice(prompts, size=min(PROMPTS_SHOWN, len(prompts)), replace=False))
    palette = sns.color_palette("viridis", len(shown))
    markers = ("o", "s", "^", "v", "D", "P", "X", "<", ">", "h")
    axis.plot([0, 1], [0, 1], color=BLACK, linewidth=1.0, linestyle=LIMIT_LINE, label="calibrated", zorder=4)
    for index, prompt in enumerate(shown):
        part = table.filter(prompt_id=prompt).head(RESPONSES_SHOWN)
        axis.scatter(
            part["rank"], part["score"], s=9, marker=markers[index % len(markers)], color=palette[index],
            alpha=0.75, linewidths=0, zorder=3,
        )  # fmt: skip
    axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="Rank among the prompt's responses", ylabel="Reward score")
    axis.set_title(f"{len(shown)} prompts (one colour and marker each)")
    axis.legend(loc="upper left", handlelength=1.6)


def _draw_error_distribution(axis: Axes, errors: Mapping[str, np.ndarray]) -> None:
    for name in MAPS:
        values = errors[name].ravel()
        color, line = CALIBRATION_LOOKS[name]
        sns.ecdfplot(x=values, ax=axis, color=color, linestyle=line, label=f"{name} (mean {values.mean():.3f})")
    axis.set(xlim=(0, 0.8), ylim=(0, 1.01), xlabel="Absolute error |score − rank|", ylabel="Share of responses")
    axis.set_title("Distribution of the error, all prompts")
    axis.legend(loc="lower right", title="Map of the score", handlelength=2.2)
