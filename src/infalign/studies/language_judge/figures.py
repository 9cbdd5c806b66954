"""The language model as judge: the main comparison by its verdicts, and how far the judges agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from infalign.presentation.panels import say_empty
from infalign.presentation.style import BLACK, BLUE, GREEN, GREY, VERMILION, print_style, procedure_name
from infalign.presentation.win_rates import figure_win_rates
from infalign.records.run_tables import RunTables
from infalign.studies.language_judge.pairs import LANGUAGE_MODEL

NAMES = {"language_model": "language model", "judge": "trained judge", "gold": "gold reward"}
PAIR_LOOKS = {
    ("language_model", "judge"): (BLUE, "o"),
    ("language_model", "gold"): (VERMILION, "D"),
    ("judge", "gold"): (GREEN, "s"),
}


def figure_language_model_judge(metrics: pl.DataFrame, ideal: pl.DataFrame, verdicts: pl.DataFrame) -> Figure:
    """Draw win rate against KL with the winner decided by the language model, a panel per task and procedure.

    The title says how many of its replies could not be read. Policies without a win rate are left out. Where no
    policy has one, the figure says so.

    The tables are the run's `language_judge_metrics`, `ideal` and `verdicts`.

    References
    ----------
    Balashankar et al., InfAlign (arXiv:2412.19792v1), appendix "Zero-shot prompt".
    """
    judged = metrics.drop_nulls("win_rate")
    panels = judged.select("task", "procedure").unique(maintain_order=True).rows()
    replies, unparsed = int(verdicts["n_replies"].sum()), int(verdicts["unparsed"].sum())
    unread = f"{unparsed:,} of its {replies:,} replies, {unparsed / replies:.1%}, not read"
    title = f"Win rate by the language model ({unread})"
    if not panels:
        return _only_text("no reply of the language model could be read", title)
    nothing = metrics.clear()
    return figure_win_rates(judged, nothing, ideal, panels, scorer=LANGUAGE_MODEL, title=title)


def figure_judge_agreement(agreement: pl.DataFrame) -> Figure:
    """Draw Cohen's kappa of every two judges, and each policy's win rate by the language model against the others'.

    `agreement` is that of `agreement_table`. An undefined kappa stands as text. An unknown interval is not drawn.
    """
    panels = agreement.select("task", "procedure").unique(maintain_order=True).rows()
    with print_style():
        figure = Figure(figsize=(8.4, max(3.4, 0.45 * len(panels) + 1.8)), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_kappas(left, agreement.filter(pl.col("policy").is_null()), panels)
        _draw_win_rates(right, agreement.filter(pl.col("policy").is_not_null(), scorer_a=LANGUAGE_MODEL))
        present = agreement.select("scorer_a", "scorer_b").unique().rows()
        handles = [
            Line2D([], [], color=color, marker=marker, linestyle="none", label=f"{NAMES[a]}, {NAMES[b]}")
            for (a, b), (color, marker) in PAIR_LOOKS.items()
            if (a, b) in present
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        figure.suptitle("How far the judges agree on the same pairs of responses", fontsize=10.5)
    return figure


def _draw_kappas(axis: Axes, together: pl.DataFrame, panels: Sequence[tuple[str, str]]) -> None:
    """A row for each task and procedure, and in it a marker for each two judges."""
    axis.axvline(0.0, color=BLACK, linewidth=0.8)
    for number, (pair, (color, marker)) in enumerate(PAIR_LOOKS.items()):
        rows = together.filter(scorer_a=pair[0], scorer_b=pair[1])
        for row in rows.iter_rows(named=True):
            place = panels.index((row["task"], row["procedure"])) + 0.2 * (number - 1)
            if row["kappa"] is None:
                axis.text(0.01, place, f"undefined ({row['n_pairs']} pairs)", color=color, va="center", fontsize=7.5)
                continue
            if row["kappa_low"] is not None:
                axis.hlines(place, row["kappa_low"], row["kappa_high"], color=color, linewidth=1.1)
            axis.plot([row["kappa"]], [place], color=color, marker=marker, markersize=5, linestyle="none")
    axis.set_yticks(range(len(panels)), [f"{task},\n{procedure_name(text)}" for task, text in panels])
    axis.set_ylim(len(panels) - 0.5, -0.5)
    axis.set_xlabel("Cohen's kappa (0: by chance)")
    axis.set_title("Verdicts, all policies")


def _draw_win_rates(axis: Axes, policies: pl.DataFrame) -> None:
    """A marker for each policy and procedure; on the line both judges give one win rate."""
    known = policies.drop_nulls(["win_rate_a", "win_rate_b"])
    for (other,), rows in known.group_by("scorer_b", maintain_order=True):
        color, marker = PAIR_LOOKS[LANGUAGE_MODEL, str(other)]
        axis.plot(
            rows["win_rate_b"], rows["win_rate_a"], color=color, marker=marker, markersize=4.5, linestyle="none",
            alpha=0.8,
        )  # fmt: skip
    values = np.concatenate([[0.4, 0.6], *(known[name].to_numpy() for name in ("win_rate_a", "win_rate_b"))])
    ends = values.min() - 0.02, values.max() + 0.02
    axis.plot(ends, ends, color=GREY, linestyle=":", linewidth=1.0)
    axis.set(xlim=ends, ylim=ends)
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=""))
    axis.set_xlabel("Win rate by the other judge (%)")
    axis.set_ylabel("Win rate by the language model (%)")
    axis.set_title("Win rates, each policy and procedure")


def _only_text(text: str, title: str) -> Figure:
    with print_style():
        figure = Figure(figsize=(7.2, 2.4), layout="constrained")
        axis = figure.subplots()
        axis.axis("off")
        say_empty(axis, text)
        figure.suptitle(title, fontsize=10.5)
    return figure


def draw_language_model_judge(tables: RunTables) -> Figure:
    return figure_language_model_judge(tables["language_judge_metrics"], tables["ideal"], tables["verdicts"])


def draw_judge_agreement(tables: RunTables) -> Figure:
    return figure_judge_agreement(tables["agreement"])
