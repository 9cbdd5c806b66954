"""What the figures of win rates share: which rows a panel shows, and how curves, points and axes look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import MultipleLocator, PercentFormatter

from infalign.errors import InputError
from infalign.presentation.curves import frontier_curve
from infalign.presentation.style import (
    BLACK,
    SERIES_KEY,
    Look,
    Series,
    print_style,
    procedure_name,
    series_order,
)

NARROWEST = 5.8  # inches: room for title and legend where there is one panel
LIMIT_LINE = (0, (1.2, 1.2))
LIMIT = "limit (exact reward, optimal transform)"
Panel = tuple[str, str]  # task and procedure


def save_figure(figure: Figure, path_stem: str | Path) -> list[Path]:
    """Write a figure as SVG and PNG whose bytes depend on the figure alone.

    Parameters
    ----------
    figure : Figure
    path_stem : str or Path
        Without ending.

    Returns
    -------
    list of Path
        The two files.
    """
    stem = Path(path_stem)
    stem.parent.mkdir(parents=True, exist_ok=True)
    svg, png = stem.with_name(stem.name + ".svg"), stem.with_name(stem.name + ".png")
    with print_style():
        figure.savefig(svg, metadata={"Date": None, "Creator": None})
        figure.savefig(png, metadata={"Software": None})
    return [svg, png]


def panel_axes(figure: Figure, n: int, columns: int = 2, **options: Any) -> list[Axes]:
    """Make n panels, row by row; what is left over of the last row stays empty."""
    axes = figure.subplots(-(-n // columns), columns, squeeze=False, **options).flatten()
    for axis in axes[n:]:
        axis.axis("off")
    return list(axes[:n])


def trained_policies(
    metrics: pl.DataFrame, task: str, procedure: str, select: str = "reward", scorer: str = "judge"
) -> pl.DataFrame:
    """Policies of a panel; `n_rollouts` is kept only where it is less than the most of the panel.

    Raises
    ------
    InputError
        There are none.
    """
    rows = panel_rows(metrics, task, procedure, select, scorer)
    if rows.is_empty():
        raise InputError(
            f"metrics: no policy of task {task} with {procedure}, select {select}, scorer {scorer}; "
            f"tasks are {', '.join(metrics['task'].unique().sort())}, "
            f"procedures {', '.join(metrics['procedure'].unique().sort())}"
        )
    fewer = pl.col("n_rollouts") < pl.col("n_rollouts").max()
    return rows.with_columns(n_rollouts=pl.when(fewer).then("n_rollouts"))


def panel_rows(
    frame: pl.DataFrame, task: str, procedure: str, select: str = "reward", scorer: str = "judge"
) -> pl.DataFrame:
    """Rows of a table that a panel shows."""
    return frame.filter(task=task, procedure=procedure, select=select, scorer=scorer)


def series_present(trained: pl.DataFrame) -> list[Series]:
    """Series that have policies here, uncalibrated first."""
    return sorted({Series(*key) for key in trained.select(SERIES_KEY).unique().rows()}, key=series_order)


def series_rows(frame: pl.DataFrame, series: Series) -> pl.DataFrame:
    """Policies of one series."""
    key = (series.method, series.transform, series.calibrator, series.n_rollouts)
    return frame.filter(*(pl.col(n).eq_missing(pl.lit(v)) for n, v in zip(SERIES_KEY, key, strict=True)))


def kl_edge(trained: pl.DataFrame) -> float:
    """Where the axis of KL ends: past the last policy, but not beyond four times the median policy."""
    furthest = float(trained.select(pl.max_horizontal("kl", "kl_high").max()).item())
    return 1.08 * min(furthest, 4 * float(trained.select(pl.median("kl")).item()))


def smooth_curve(frame: pl.DataFrame, edge: float = np.inf) -> tuple[np.ndarray, np.ndarray]:
    """Points (KL, win rate) of a frontier from the reference's (0, 1/2) up to `edge`."""
    curve = frontier_curve(frame)
    roots = np.linspace(0.0, min(curve.x[-1], np.sqrt(edge)), 200)
    return roots**2, curve(roots)


def draw_curve(axis: Axes, frame: pl.DataFrame, look: Look, edge: float, *, width: float) -> Line2D:
    """Draw a frontier up to `edge`, so that the axis limits follow what is seen."""
    kl, win_rate = smooth_curve(frame, edge)
    return axis.plot(kl, win_rate, color=look.color, linestyle=look.line, linewidth=width, zorder=2)[0]


def draw_limit(axis: Axes, ideal: pl.DataFrame, edge: float) -> dict[str, Line2D]:
    """Draw the ideal frontier of the optimal transform, where the table has it; return its entry of the legend."""
    limit = ideal.filter(pl.col("transform").str.starts_with("optimal"))
    if limit.is_empty():
        return {}
    return {LIMIT: draw_curve(axis, limit, Look(BLACK, "", LIMIT_LINE, True), edge, width=1.3)}


def draw_points(axis: Axes, rows: pl.DataFrame, look: Look, alpha: float = 1.0) -> Line2D:
    """Draw policies as markers with their intervals in both directions."""
    kl, win_rate = rows["kl"].to_numpy(), rows["win_rate"].to_numpy()
    drawn = axis.errorbar(
        kl, win_rate,
        xerr=_bars(kl, rows["kl_low"], rows["kl_high"]), yerr=_bars(win_rate, rows["ci_low"], rows["ci_high"]),
        fmt=look.marker, color=look.color, markerfacecolor=look.face, markersize=5.5, elinewidth=0.9,
        markeredgewidth=1.1, alpha=alpha, zorder=5,
    )  # fmt: skip
    return drawn.lines[0]


def _bars(values: np.ndarray, low: pl.Series, high: pl.Series) -> np.ndarray:
    """Lengths of error bars, (2, n), never negative; NaN, not drawn, where the interval is undefined."""
    ends = np.array([low.cast(pl.Float64).to_numpy(), high.cast(pl.Float64).to_numpy()])
    return np.maximum(np.array([[-1.0], [1.0]]) * (ends - values), 0.0)


def legend_marker(look: Look) -> Line2D:
    """Marker of a series for the legend."""
    return Line2D(
        [], [], color=look.color, marker=look.marker, markerfacecolor=look.face, linestyle="none", markersize=5.5
    )  # fmt: skip


def end_axis(axis: Axes, trained: pl.DataFrame, edge: float) -> None:
    """End the axis of KL, and say how many policies lie beyond."""
    axis.set_xlim(0, edge)
    beyond = trained.filter(pl.col("kl") > edge)
    if not beyond.is_empty():
        counted = "1 policy" if beyond.height == 1 else f"{beyond.height} policies"
        text = f"{counted} beyond, up to KL {beyond['kl'].to_numpy().max():.1f} →"
        axis.text(0.99, 0.01, text, transform=axis.transAxes, ha="right", va="bottom", fontsize=7.5)


def say_empty(axis: Axes, text: str) -> None:
    """Write in the middle of a panel why it is empty."""
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", color="#595959")


def panel_title(task: str, procedure: str, select: str = "reward", scorer: str = "judge") -> str:
    """Title of a panel: task, procedure, who selects and who decides the winner."""
    chosen = "" if procedure == "none" else f"selected by {select}, "
    return f"{task}, {procedure_name(procedure)}\n({chosen}scored by {scorer})"


def format_axes(axis: Axes) -> None:
    """Label the axes of KL and win rate, which is shown in percent."""
    low, high = axis.get_ylim()
    steps = (0.01, 0.02, 0.05, 0.1)
    axis.yaxis.set_major_locator(MultipleLocator(next((s for s in steps if (high - low) / s <= 8), 0.1)))
    axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=""))
    axis.set_xlabel("KL divergence from the reference (nats)")
    axis.set_ylabel("Win rate (%)")


def share_legend(figure: Figure, handles: dict[str, Line2D]) -> None:
    """Put one legend below all panels, policies first, curves last, as wide as they are, and make room for it."""
    curves = [label for label in handles if label.startswith(("limit", "offline", "Pareto", "best-of-n"))]
    labels = [label for label in handles if label not in curves] + curves
    columns = 3 if figure.get_figwidth() > 7.5 or len(labels) > 8 else 2
    legend = _legend_below(figure, handles, labels, columns)
    while columns > 1 and legend.get_window_extent().width > figure.bbox.width:
        legend.remove()
        columns -= 1
        legend = _legend_below(figure, handles, labels, columns)
    figure.set_figheight(figure.get_figheight() + 0.25 + 0.18 * -(-len(labels) // columns))


def _legend_below(figure: Figure, handles: dict[str, Line2D], labels: list[str], columns: int) -> Legend:
    return figure.legend([handles[label] for label in labels], labels, loc="outside lower center", ncols=columns)
