"""The paper's figures from the result tables: limit, offline prediction and trained policies together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MultipleLocator, PercentFormatter
from scipy.interpolate import PchipInterpolator

from infalign.errors import InputError
from infalign.mathematics.pareto_front import front_shares, on_front
from infalign.presentation.curves import without_reference
from infalign.presentation.miscalibration import MAPS, errors_by_map, sigmoid_table
from infalign.presentation.style import (
    BLACK,
    CALIBRATION_LOOKS,
    GREY,
    SERIES_KEY,
    Look,
    Series,
    print_style,
    procedure_name,
    series_order,
    transform_look,
    transform_order,
)

TRANSFORM_PANELS = ("none", "bon(2)", "bon(4)", "won(2)", "won(4)")
LIMIT_LINE = (0, (1.2, 1.2))
LIMIT = "limit (exact reward, optimal transform)"


def save_figure(figure: Figure, path_stem: str | Path) -> list[Path]:
    """Write a figure as SVG and PNG whose bytes depend on the figure alone.

    Parameters
    ----------
    figure : matplotlib figure.
    path_stem : path without ending; `.svg` and `.png` are added.

    Returns
    -------
    The two paths.
    """
    stem = Path(path_stem)
    stem.parent.mkdir(parents=True, exist_ok=True)
    svg, png = stem.with_name(stem.name + ".svg"), stem.with_name(stem.name + ".png")
    with print_style():
        figure.savefig(svg, metadata={"Date": None, "Creator": None})
        figure.savefig(png, metadata={"Software": None})
    return [svg, png]


def figure_transforms(ideal: pl.DataFrame) -> Figure:
    """Draw the ideal frontiers: win rate against KL for each procedure and transform.

    Parameters
    ----------
    ideal : columns transform, procedure, kl (nats), win_rate (in [0, 1]). Panels are none, bon(2), bon(4),
        won(2) and won(4), those that the table has; a run evaluates them with N = 2 and 4.

    Raises
    ------
    InputError
        The table has none of these procedures.

    References
    ----------
    Balashankar et al., InfAlign (arXiv:2412.19792v1), section 4.3, figure 1.
    """
    present = set(ideal["procedure"])
    if present.isdisjoint(TRANSFORM_PANELS):
        raise InputError(
            f"ideal table: none of the procedures {', '.join(TRANSFORM_PANELS)}; it has "
            f"{', '.join(sorted(present))}; evaluate N = 2 or 4"
        )
    with print_style():
        figure = Figure(figsize=(7.6, 5.0), layout="constrained")
        axes = figure.subplots(2, 3).flatten()
        places = dict(zip(TRANSFORM_PANELS, (axes[0], axes[1], axes[2], axes[4], axes[5]), strict=True))
        handles: dict[str, Line2D] = {}
        for procedure, axis in places.items():
            if procedure not in present:
                axis.axis("off")
                continue
            handles |= _draw_frontiers(axis, ideal.filter(pl.col("procedure") == procedure))
            axis.set_title(procedure_name(procedure).capitalize())
            _format_axes(axis)
            axis.set_xlabel("KL divergence (nats)")
        axes[3].axis("off")
        axes[3].legend(
            handles.values(), handles.keys(), loc="center", title="Transform of the calibrated reward"
        )
        figure.suptitle(
            "Ideal frontier of each transform: win rate against the reference policy", fontsize=10.5
        )
    return figure


def _draw_frontiers(axis: Axes, ideal: pl.DataFrame) -> dict[str, Line2D]:
    handles = {}
    order = sorted(ideal["transform"].unique(), key=transform_order)
    for transform in order:
        color, _, line = transform_look(transform)
        kl, win_rate = _smooth_curve(ideal.filter(pl.col("transform") == transform))
        optimal = transform.startswith("optimal")
        label = "optimal for the procedure" if optimal else transform
        handles[label] = axis.plot(
            kl,
            win_rate,
            color=color,
            linestyle=line,
            linewidth=1.9 if optimal else 1.3,
            zorder=4 if optimal else 3,
        )[0]
    axis.margins(x=0)
    axis.set_ylim(bottom=0.5)
    return handles


def _smooth_curve(frame: pl.DataFrame, edge: float = np.inf) -> tuple[np.ndarray, np.ndarray]:
    """A frontier from the reference policy's (0, 1/2) up to `edge`; monotone cubic in the root of KL."""
    ordered = frame.sort("kl")
    roots = np.r_[0.0, np.sqrt(ordered["kl"].to_numpy())]
    curve = PchipInterpolator(roots, np.r_[0.5, ordered["win_rate"].to_numpy()])
    grid = np.linspace(0.0, min(roots[-1], np.sqrt(edge)), 200)
    return grid**2, curve(grid)


def figure_calibration(
    scores: pl.DataFrame, *, task: str, n_prompts: int = 10, n_responses: int = 100, seed: int = 0
) -> Figure:
    """Draw how far reward scores are from calibrated, and what a per-prompt quantile map leaves.

    Left: score (the sigmoid of the reward less the mean reward of all prompts) against rank, for some
    prompts. Right: distribution of the absolute error |score - rank| over all prompts. The quantile map
    is measured out of sample: half of each prompt's rollouts make the table, the other half are measured.

    Parameters
    ----------
    scores : reference rollouts with columns prompt_id, sample_id, reward.
    task : name in the title.
    n_prompts, n_responses : how much the left panel shows.
    seed : draws the prompts shown and the halves.

    References
    ----------
    Balashankar et al., InfAlign (arXiv:2412.19792v1), section 6.2, figure 2.
    """
    with print_style():
        figure = Figure(figsize=(7.2, 3.5), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_scatter(left, sigmoid_table(scores), n_prompts, n_responses, np.random.default_rng([seed, 1]))
        _draw_error_distribution(right, errors_by_map(scores, seed=seed))
        figure.suptitle(f"Calibration of the reward model: {task}", fontsize=10.5)
    return figure


def _draw_scatter(axis: Axes, table: pl.DataFrame, n_prompts: int, n_responses: int, rng) -> None:
    prompts = table["prompt_id"].unique(maintain_order=True).to_numpy()
    shown = np.sort(rng.choice(prompts, size=min(n_prompts, len(prompts)), replace=False))
    palette = sns.color_palette("viridis", len(shown))
    markers = ("o", "s", "^", "v", "D", "P", "X", "<", ">", "h")
    axis.plot([0, 1], [0, 1], color=BLACK, linewidth=1.0, linestyle=LIMIT_LINE, label="calibrated", zorder=4)
    for index, prompt in enumerate(shown):
        part = table.filter(pl.col("prompt_id") == prompt).head(n_responses)
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
        sns.ecdfplot(
            x=values, ax=axis, color=color, linestyle=line, label=f"{name} (mean {values.mean():.3f})"
        )
    axis.set(
        xlim=(0, 0.8), ylim=(0, 1.01), xlabel="Absolute error |score − rank|", ylabel="Share of responses"
    )
    axis.set_title("Distribution of the error, all prompts")
    axis.legend(loc="lower right", title="Map of the score", handlelength=2.2)


def figure_win_rates(
    metrics: pl.DataFrame,
    offline: pl.DataFrame,
    ideal: pl.DataFrame,
    panels: Sequence[tuple[str, str]],
    series: Sequence[Series] | None = None,
    *,
    select: str = "reward",
    scorer: str = "judge",
    title: str = "Win rate against the reference policy",
    columns: int = 2,
) -> Figure:
    """Draw win rate against KL: the limit, the offline frontier and the trained policies.

    Each panel shows, for one task and procedure: the limit (dotted: optimal transform of an exact reward in
    the continuous model), the offline frontier of each reward (line: the exact tilt of the scored rollouts)
    and the trained policies (markers with 95 % intervals in both directions).

    Parameters
    ----------
    metrics : the run's metrics table; rows of each task's main condition.
    offline : columns task, transform, procedure, select, scorer, kl, win_rate.
    ideal : columns transform, procedure, kl, win_rate.
    panels : pairs (task, procedure text).
    series : what to draw, in this order; None draws every series of the metrics.
    select : "reward" or "judge", which scores pick the response of a procedure.
    scorer : "judge" or "gold", who decides the winner.

    Raises
    ------
    InputError
        A panel has no trained policy.
    """
    rows = -(-len(panels) // columns)
    with print_style():
        figure = Figure(figsize=(3.65 * columns, 3.0 * rows), layout="constrained")
        axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).flatten()
        handles: dict[str, Line2D] = {}
        for axis, (task, procedure) in zip(axes, panels, strict=False):
            trained = _trained(metrics, task, procedure, select, scorer)
            drawn = _present(trained, series)
            predicted = _pick(offline, task, procedure, select, scorer)
            limit = ideal.filter(pl.col("procedure") == procedure)
            handles |= _draw_panel(axis, trained, predicted, limit, drawn)
            axis.set_title(_panel_title(task, procedure, select, scorer))
        for axis in axes[len(panels) :]:
            axis.axis("off")
        _share_legend(figure, handles)
        figure.suptitle(title, fontsize=10.5)
    return figure


def figure_standard(
    metrics, offline, ideal, tasks: Sequence[str], *, select="reward", scorer="judge"
) -> Figure:
    """Draw the standard win rate (no inference-time procedure), a panel per task.

    Parameters are those of `figure_win_rates`; median-calibrated policies are drawn too where trained.

    References
    ----------
    Balashankar et al., InfAlign (arXiv:2412.19792v1), section 6.3, figure 3.
    """
    panels = [(task, "none") for task in tasks]
    title = "Standard win rate against the reference policy"
    return figure_win_rates(
        metrics,
        offline,
        ideal,
        panels,
        select=select,
        scorer=scorer,
        title=title,
        columns=min(2, len(panels)),
    )


def figure_inference_time(
    metrics,
    offline,
    ideal,
    panels: Sequence[tuple[str, str]] = (("helpful", "bon(4)"), ("harmless", "won(4)")),
    *,
    select="reward",
    scorer="judge",
) -> Figure:
    """Draw the win rates after the inference-time procedure each task is meant for.

    Parameters are those of `figure_win_rates`.

    References
    ----------
    Balashankar et al., InfAlign (arXiv:2412.19792v1), sections 6.4 and 6.5, figure 4.
    """
    title = "Inference-time win rate: both policies go through the same procedure"
    return figure_win_rates(
        metrics,
        offline,
        ideal,
        panels,
        select=select,
        scorer=scorer,
        title=title,
        columns=min(2, len(panels)),
    )


def figure_scaling(
    metrics,
    offline,
    ideal,
    panels: Sequence[tuple[str, str]] = (
        ("helpful", "bon(2)"),
        ("helpful", "bon(32)"),
        ("harmless", "won(2)"),
        ("harmless", "won(32)"),
    ),
    *,
    select="reward",
    scorer="judge",
) -> Figure:
    """Draw little against much inference-time compute: N = 2 and N = 32.

    Parameters are those of `figure_win_rates`.

    References
    ----------
    Balashankar et al., InfAlign (arXiv:2412.19792v1), appendix, "Gains are higher with more inference-time
    compute available".
    """
    title = "Inference-time win rate with little and with much compute"
    return figure_win_rates(metrics, offline, ideal, panels, select=select, scorer=scorer, title=title)


def figure_methods(
    metrics: pl.DataFrame,
    ideal: pl.DataFrame,
    panels: Sequence[tuple[str, str]],
    *,
    select: str = "reward",
    scorer: str = "judge",
) -> Figure:
    """Draw win rate against KL for every method, with the Pareto front of all policies.

    Policies that another one dominates (a higher win rate at no more KL) are faded; the front is the stair
    through the others; the policies of a series are joined by a thin line. Best-of-1 policies, the reference
    itself, are left out.

    Parameters
    ----------
    metrics, ideal, panels, select, scorer : as in `figure_win_rates`.

    References
    ----------
    Amini et al., Variational best-of-N alignment (ICLR 2025), figure 2.
    """
    rows = -(-len(panels) // 2)
    with print_style():
        figure = Figure(figsize=(9.0, 3.7 * rows), layout="constrained")
        axes = figure.subplots(rows, 2, squeeze=False).flatten()
        handles: dict[str, Line2D] = {}
        for axis, (task, procedure) in zip(axes, panels, strict=False):
            limit = ideal.filter(pl.col("procedure") == procedure)
            trained = without_reference(_trained(metrics, task, procedure, select, scorer))
            handles |= _draw_methods(axis, trained, limit)
            axis.set_title(_panel_title(task, procedure, select, scorer))
        for axis in axes[len(panels) :]:
            axis.axis("off")
        _share_legend(figure, handles)
        figure.suptitle(
            "Every method: win rate against KL, and the Pareto front of all policies", fontsize=10.5
        )
    return figure


def _draw_methods(axis: Axes, trained: pl.DataFrame, ideal: pl.DataFrame) -> dict[str, Line2D]:
    edge = _edge(trained)
    best = trained.with_columns(
        front=pl.Series(on_front(trained["kl"].to_numpy(), trained["win_rate"].to_numpy()))
    )
    handles = {"Pareto front of all policies": _draw_front(axis, best.filter("front"), edge)}
    limit = ideal.filter(pl.col("transform").str.starts_with("optimal"))
    if not limit.is_empty():
        handles[LIMIT] = _draw_curve(axis, limit, Look(BLACK, "", LIMIT_LINE, True), edge, width=1.3)
    for series in _present(best, None):
        rows, look = _rows(best, series).sort("kl"), series.look
        axis.plot(rows["kl"], rows["win_rate"], color=look.color, linewidth=0.7, alpha=0.35, zorder=3)
        _draw_points(axis, rows.filter(~pl.col("front")), look, alpha=0.35)
        _draw_points(axis, rows.filter("front"), look)
        handles[series.label] = _legend_marker(look)
    axis.set_xlim(0, edge)
    _say_beyond(axis, trained, edge)
    _format_axes(axis)
    return handles


def figure_front(
    metrics: pl.DataFrame,
    best_of_n: pl.DataFrame,
    task: str,
    *,
    methods: Sequence[str] | None = None,
    scorer: str = "judge",
    title: str = "Win rate and mean reward against KL",
) -> Figure:
    """Draw win rate and mean reward against KL, with best-of-n of the reference itself as the mark to reach.

    Policies that one of their own series dominates are faded. The legend gives each series' share of the
    pooled front of the series drawn, by win rate and by mean reward. Best-of-1 policies and those with fewer
    rollouts than others of their series are left out.

    Parameters
    ----------
    metrics : the run's metrics table.
    best_of_n : columns task, n, scorer, win_rate, mean_reward; n = 1 is the reference. Its KL is taken as
        log n - (n - 1)/n nats.
    task : its name.
    methods : names to draw; None draws all.
    scorer : "judge" or "gold", who decides the winner.
    title : of the figure.

    Raises
    ------
    InputError
        The task has no policy of these methods.

    References
    ----------
    Amini et al., Variational best-of-N alignment (ICLR 2025), figures 2, 6 and 7.
    """
    wanted = metrics if methods is None else metrics.filter(pl.col("method").is_in(methods))
    fewer = pl.col("n_rollouts") < pl.col("n_rollouts").max().over("task", *SERIES_KEY[:-1])
    wanted = wanted.filter(~fewer.fill_null(False)).with_columns(n_rollouts=pl.lit(None, pl.Int64))
    trained = without_reference(_trained(wanted, task, "none", "reward", scorer))
    own = (
        best_of_n.filter(task=task, scorer=scorer).group_by("n").agg(pl.col("win_rate", "mean_reward").mean())
    )
    own = own.sort("n").with_columns(kl=pl.col("n").log() - (pl.col("n") - 1) / pl.col("n"))
    drawn = _present(trained, None)
    members = np.array([drawn.index(Series(*key)) for key in trained.select(SERIES_KEY).rows()])
    with print_style():
        figure = Figure(figsize=(9.0, 3.7), layout="constrained")
        axes = figure.subplots(1, 2)
        shares = [
            _draw_fronts(axis, trained, own, value, members)
            for axis, value in zip(axes, ("win_rate", "mean_reward"), strict=True)
        ]
        _format_axes(axes[0])
        axes[1].set(xlabel="KL divergence from the reference (nats)", ylabel="Mean reward")
        handles = {
            f"{series.label}: {by_rate:.0%}, {by_reward:.0%} of the fronts": _legend_marker(series.look)
            for series, by_rate, by_reward in zip(drawn, *shares, strict=True)
        }
        handles["best-of-n of the reference"] = Line2D([], [], color=BLACK, marker=".", linewidth=1.1)
        _share_legend(figure, handles)
        figure.suptitle(f"{title}: {task} (wins decided by {scorer})", fontsize=10.5)
    return figure


def _draw_fronts(
    axis: Axes, trained: pl.DataFrame, own: pl.DataFrame, value: str, members: np.ndarray
) -> np.ndarray:
    """Draw every series with its own front, and return the shares of the pooled one."""
    rows = trained if value == "win_rate" else _as_rewards(trained)
    gain = rows["win_rate"].to_numpy() - own[value][0] + 0.5
    shares = front_shares(rows["kl"].to_numpy(), gain, members, members.max() + 1)
    edge = _edge(rows)
    seen = own.filter(pl.col("kl") <= edge)
    axis.plot(seen["kl"], seen[value], color=BLACK, marker=".", linewidth=1.1, zorder=2)
    for series in _present(rows, None):
        part = rows.with_columns(gain=gain)
        part, look = _rows(part, series).sort("kl"), series.look
        best = pl.Series(on_front(part["kl"].to_numpy(), part["gain"].to_numpy()))
        _draw_points(axis, part.filter(~best), look, alpha=0.35)
        _draw_points(axis, part.filter(best), look)
    axis.set_xlim(0, edge)
    _say_beyond(axis, rows, edge)
    return shares


def _as_rewards(trained: pl.DataFrame) -> pl.DataFrame:
    """The same policies with their mean reward, which has no interval, in place of the win rate."""
    unknown = pl.lit(None, pl.Float64)
    return trained.with_columns(win_rate=pl.col("mean_reward"), ci_low=unknown, ci_high=unknown)


def _draw_front(axis: Axes, front: pl.DataFrame, edge: float) -> Line2D:
    """Stair of what is reached at no more than each KL, from the reference's one half."""
    steps = front.sort("kl")
    kl, win_rate = [0.0, *steps["kl"], edge], [0.5, *steps["win_rate"]]
    return axis.step(
        kl, [*win_rate, win_rate[-1]], where="post", color=GREY, linewidth=1.1, alpha=0.8, zorder=2
    )[0]


def _legend_marker(look: Look) -> Line2D:
    face = look.color if look.filled else "white"
    return Line2D(
        [], [], color=look.color, marker=look.marker, markerfacecolor=face, linestyle="none", markersize=5.5
    )


def _edge(trained: pl.DataFrame) -> float:
    """Where the axis of KL ends: past the last policy, but not beyond four times the median policy."""
    furthest = float(trained.select(pl.max_horizontal("kl", "kl_high").max()).item())
    return 1.08 * min(furthest, 4 * float(trained.select(pl.median("kl")).item()))


def _say_beyond(axis: Axes, trained: pl.DataFrame, edge: float) -> None:
    beyond = trained.filter(pl.col("kl") > edge)
    if not beyond.is_empty():
        said = f"{beyond.height} policies beyond, up to KL {beyond['kl'].to_numpy().max():.1f} →"
        axis.text(0.99, 0.01, said, transform=axis.transAxes, ha="right", va="bottom", fontsize=7.5)


def figure_matched_kl(
    methods: pl.DataFrame,
    panels: Sequence[tuple[str, str]],
    *,
    kl: float = 0.5,
    select: str = "reward",
    scorer: str = "judge",
) -> Figure:
    """Draw each series' win rate less that of CTRL at one KL, with intervals, paired by prompt.

    Parameters
    ----------
    methods : table of `pareto.compare_methods`.
    panels : pairs (task, procedure text).
    kl : in nats, one of the table's.
    select, scorer : as in `figure_win_rates`.

    Raises
    ------
    InputError
        The table has not this KL for a panel.
    """
    parts = [_pick(methods, task, procedure, select, scorer).filter(kl=kl) for task, procedure in panels]
    for (task, procedure), part in zip(panels, parts, strict=True):
        if part.is_empty():
            raise InputError(
                f"methods: no row of task {task} with {procedure}, select {select}, scorer {scorer} and KL {kl:g}; "
                f"KLs are {', '.join(f'{value:g}' for value in methods['kl'].unique().sort())}"
            )
    heights = [0.24 * max(part.height for part in parts[row : row + 2]) for row in range(0, len(parts), 2)]
    with print_style():
        figure = Figure(figsize=(9.0, sum(heights) + 1.1 * len(heights) + 0.3), layout="constrained")
        ratios = [height + 0.2 for height in heights]
        axes = figure.subplots(len(heights), 2, squeeze=False, height_ratios=ratios).flatten()
        for axis, (task, procedure), part in zip(axes, panels, parts, strict=False):
            _draw_forest(axis, part)
            axis.set_title(_panel_title(task, procedure, select, scorer))
        for axis in axes[len(panels) :]:
            axis.axis("off")
        figure.suptitle(f"Win rate at KL {kl:g} less that of CTRL, paired by prompt", fontsize=10.5)
    return figure


def _draw_forest(axis: Axes, part: pl.DataFrame) -> None:
    control = part["control"][0]
    others = part.filter(pl.col("series") != control) if control else part
    others = others.sort("difference", descending=True, nulls_last=True, maintain_order=True)
    axis.axvline(0.0, color=BLACK, linewidth=0.8)
    for place, row in enumerate(others.iter_rows(named=True)):
        if row["difference"] is None:
            _say_missing(axis, place, row)
        else:
            _draw_difference(axis, place, row)
    axis.set_yticks(range(others.height), others["series"].to_list())
    axis.set_ylim(max(others.height, 1) - 0.4, -0.6)
    if control is None:
        _say_empty(axis, "no CTRL series was trained for this goal")
    elif others.is_empty():
        _say_empty(axis, f"{control} is the only series")
    axis.set_xlabel(f"Points above {control or 'CTRL'}, with interval")


def _draw_difference(axis: Axes, place: int, row: Mapping) -> None:
    look = Series(row["method"], row["transform"], row["calibrator"]).look
    ours, low, high = (
        np.nan if row[name] is None else 100 * row[name]
        for name in ("difference", "difference_low", "difference_high")
    )
    axis.errorbar(
        [ours], [place], xerr=[[ours - low], [high - ours]], fmt=look.marker, color=look.color, markersize=5.5,
        markerfacecolor=look.color if look.filled else "white", elinewidth=1.2,
    )  # fmt: skip


def _say_missing(axis: Axes, place: int, row: Mapping) -> None:
    """Say in a row of its own who has not reached the KL, next to the line of no difference."""
    reached = row["win_rate"] is not None
    said = "CTRL does not reach it" if reached else "not reached"
    spans = "" if reached else f": KL {row['kl_lowest']:.2f}–{row['kl_highest']:.2f}"
    axis.text(
        0.02, place, said + spans, transform=axis.get_yaxis_transform(), va="center", fontsize=7.5, color="#595959",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
    )  # fmt: skip


def figure_overview(
    metrics: pl.DataFrame, goals: Sequence[tuple[str, str]], *, select: str = "reward"
) -> Figure:
    """Draw what share of the attainable gain each policy reached, a dot per policy.

    Parameters
    ----------
    metrics : the run's metrics table.
    goals : pairs (task, procedure text), a panel each; rows without `share_of_limit` are left out, and the
        panel says how many they are.
    select : "reward" or "judge".

    Raises
    ------
    InputError
        A goal has no policy.
    """
    parts = [_trained(metrics, task, procedure, select, "judge") for task, procedure in goals]
    with print_style():
        figure = Figure(figsize=(4.1 * len(goals), 2.9), layout="constrained")
        axes = figure.subplots(1, len(goals), squeeze=False)[0]
        for axis, part, (task, procedure) in zip(axes, parts, goals, strict=True):
            _draw_shares(axis, part)
            absent = part["share_of_limit"].null_count()
            axis.set_title(
                f"{task}, {procedure_name(procedure)}\n({part.height - absent} policies, {absent} undefined)"
            )
        figure.suptitle(
            "Share of the attainable gain at the policy's own KL, scored by its reward", fontsize=10.5
        )
    return figure


def _draw_shares(axis: Axes, part: pl.DataFrame) -> None:
    known = part.filter(pl.col("share_of_limit").is_not_null())
    names = _present(known, None)
    axis.axvline(1.0, color=BLACK, linestyle=LIMIT_LINE, linewidth=1.0)
    for row, series in enumerate(reversed(names)):
        points = _rows(known, series).sort("kl")
        look = series.look
        size = 18 + 45 * points["kl"].to_numpy().clip(0, 2)
        axis.scatter(
            points["share_of_limit"], np.full(points.height, row), s=size, marker=look.marker, alpha=0.8,
            edgecolors=look.color, facecolors=look.color if look.filled else "white", zorder=3,
        )  # fmt: skip
    axis.set_yticks(range(len(names)), [series.label for series in reversed(names)])
    axis.set(xlabel="Share of the limit (marker grows with KL)", ylim=(-0.6, max(len(names), 1) - 0.4))
    axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    values = [0.0, 1.05, *known["share_of_limit"]]
    axis.set_xlim(min(values), max(values))
    if not names:
        _say_empty(axis, "no policy has a share of the limit\n(raw reward, or KL below 0.1)")


def figure_gold(comparison: pl.DataFrame) -> Figure:
    """Draw the same differences as the judge and as the gold reward see them.

    Parameters
    ----------
    comparison : table of `claims.judge_and_gold`: claim, and ours, ci_low, ci_high, verdict of either scorer
        with the suffix `_gold` for the second; differences are shares (0.03 is 3 points). Without rows
        (policies that miss the KL of the comparisons) the figure says so.
    """
    with print_style():
        figure = Figure(figsize=(7.2, 0.30 * max(comparison.height, 2) + 1.5), layout="constrained")
        axis = figure.subplots()
        if comparison.is_empty():
            _say_empty(axis, "no claim was evaluated by both the judge and the gold reward")
        axis.axvline(0.0, color=BLACK, linewidth=0.8)
        for suffix, shift, color, marker in (("", 0.14, "#0072B2", "o"), ("_gold", -0.14, "#D55E00", "D")):
            _draw_differences(axis, comparison, suffix, shift, color, marker)
        labels = [
            f"{row['claim']}{' *' if row['verdict'] != row['verdict_gold'] else ''}"
            for row in comparison.iter_rows(named=True)
        ]
        axis.set_yticks(range(comparison.height), labels)
        axis.set_ylim(max(comparison.height, 1) - 0.4, -0.6)
        axis.set_xlabel("Measured difference in points, with its 95 % interval (* verdicts differ)")
        figure.legend(loc="outside lower center", ncols=2)
        figure.suptitle("The same comparisons scored by the judge and by the gold reward", fontsize=10.5)
    return figure


def _draw_differences(axis, comparison, suffix, shift, color, marker) -> None:
    ours, low, high = (comparison[name + suffix].to_numpy() * 100 for name in ("ours", "ci_low", "ci_high"))
    axis.errorbar(
        ours, np.arange(comparison.height) - shift, xerr=[ours - low, high - ours], fmt=marker, color=color,
        markersize=4.5, elinewidth=1.1, label="scored by gold" if suffix else "scored by judge",
    )  # fmt: skip


def _trained(metrics, task, procedure, select, scorer) -> pl.DataFrame:
    """Policies of a panel; `n_rollouts` is kept only where it is less than the most of the panel."""
    rows = _pick(metrics, task, procedure, select, scorer)
    if rows.is_empty():
        raise InputError(
            f"metrics: no policy of task {task} with {procedure}, select {select}, scorer {scorer}; "
            f"tasks are {', '.join(metrics['task'].unique().sort())}, "
            f"procedures {', '.join(metrics['procedure'].unique().sort())}"
        )
    fewer = pl.col("n_rollouts") < pl.col("n_rollouts").max()
    return rows.with_columns(n_rollouts=pl.when(fewer).then("n_rollouts"))


def _pick(frame: pl.DataFrame, task: str, procedure: str, select: str, scorer: str) -> pl.DataFrame:
    return frame.filter(
        (pl.col("task") == task)
        & (pl.col("procedure") == procedure)
        & (pl.col("select") == select)
        & (pl.col("scorer") == scorer)
    )


def _present(trained: pl.DataFrame, wanted: Sequence[Series] | None) -> list[Series]:
    """Series that have policies here: those wanted, in that order, or all, uncalibrated first."""
    found = {Series(*key) for key in trained.select(SERIES_KEY).unique().rows()}
    if wanted is not None:
        return [series for series in wanted if series in found]
    return sorted(found, key=series_order)


def _rows(frame: pl.DataFrame, series: Series) -> pl.DataFrame:
    key = (series.method, series.transform, series.calibrator, series.n_rollouts)
    return frame.filter(*(pl.col(n).eq_missing(pl.lit(v)) for n, v in zip(SERIES_KEY, key, strict=True)))


def _draw_panel(axis, trained, offline, ideal, drawn: Sequence[Series]) -> dict[str, Line2D]:
    handles = {}
    limit = ideal.filter(pl.col("transform").str.starts_with("optimal"))
    edge = _edge(trained)
    if not limit.is_empty():
        look = Look(BLACK, "", LIMIT_LINE, True)
        handles[LIMIT] = _draw_curve(axis, limit, look, edge, width=1.3)
    for transform in dict.fromkeys(series.transform for series in drawn if series.transform):
        curve = offline.filter(pl.col("transform") == transform)
        if not curve.is_empty():
            color, _, line = transform_look(transform)
            _draw_curve(axis, curve, Look(color, "", line, True), edge, width=1.2)
            handles["offline frontier (reward's colour)"] = Line2D([], [], color=GREY, linewidth=1.2)
    for series in drawn:
        handles[series.label] = _draw_points(axis, _rows(trained, series), series.look)
    axis.set_xlim(0, edge)
    _say_beyond(axis, trained, edge)
    _format_axes(axis)
    return handles


def _draw_curve(axis: Axes, frame: pl.DataFrame, look: Look, edge: float, *, width: float) -> Line2D:
    """Draw a frontier up to `edge`, so that the axis limits follow what is seen."""
    kl, win_rate = _smooth_curve(frame, edge)
    return axis.plot(kl, win_rate, color=look.color, linestyle=look.line, linewidth=width, zorder=2)[0]


def _draw_points(axis: Axes, rows: pl.DataFrame, look: Look, alpha: float = 1.0) -> Line2D:
    kl, win_rate = rows["kl"].to_numpy(), rows["win_rate"].to_numpy()
    drawn = axis.errorbar(
        kl,
        win_rate,
        xerr=_bars(kl, rows["kl_low"], rows["kl_high"]),
        yerr=_bars(win_rate, rows["ci_low"], rows["ci_high"]),
        fmt=look.marker,
        color=look.color,
        markerfacecolor=look.color if look.filled else "white",
        markersize=5.5,
        elinewidth=0.9,
        markeredgewidth=1.1,
        alpha=alpha,
        zorder=5,
    )
    return drawn.lines[0]


def _bars(values: np.ndarray, low: pl.Series, high: pl.Series) -> np.ndarray:
    """Lengths of error bars, (2, n), never negative; NaN, not drawn, where the interval is undefined."""
    ends = np.array([low.cast(pl.Float64).to_numpy(), high.cast(pl.Float64).to_numpy()])
    return np.maximum(np.array([[-1.0], [1.0]]) * (ends - values), 0.0)


def _say_empty(axis: Axes, text: str) -> None:
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", color="#595959")


def _panel_title(task: str, procedure: str, select: str, scorer: str) -> str:
    chosen = "" if procedure == "none" else f"selected by {select}, "
    return f"{task}, {procedure_name(procedure)}\n({chosen}scored by {scorer})"


def _format_axes(axis: Axes) -> None:
    low, high = axis.get_ylim()
    steps = (0.01, 0.02, 0.05, 0.1)
    axis.yaxis.set_major_locator(MultipleLocator(next((s for s in steps if (high - low) / s <= 8), 0.1)))
    axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=""))
    axis.set_xlabel("KL divergence from the reference (nats)")
    axis.set_ylabel("Win rate (%)")


def _share_legend(figure: Figure, handles: dict[str, Line2D]) -> None:
    """Put one legend below all panels, policies first, curves last, and make room for it."""
    curves = [label for label in handles if label.startswith(("limit", "offline", "Pareto", "best-of-n"))]
    labels = [label for label in handles if label not in curves] + curves
    columns = 3 if figure.get_figwidth() > 7.5 or len(labels) > 8 else 2
    figure.set_figheight(figure.get_figheight() + 0.25 + 0.18 * -(-len(labels) // columns))
    figure.legend([handles[label] for label in labels], labels, loc="outside lower center", ncols=columns)
