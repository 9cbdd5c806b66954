"""Figures of variational best-of-N: what is drawn is what the tables say."""

import numpy as np
import polars as pl
import pytest
from result_tables import REFERENCE_REWARD

from infalign.errors import InputError
from infalign.mathematics.pareto_front import front_shares, on_front
from infalign.mathematics.procedures import BestOf
from infalign.presentation.comparison import draw_front
from infalign.presentation.curves import without_reference
from infalign.presentation.panels import save_figure
from infalign.presentation.rollout_cost import draw_rollout_cost
from presentation.stored_tables import Tables


def front_of_helpful(metrics, best_of_n, methods=None):
    tables = Tables(metrics=metrics, best_of_n=best_of_n)
    return draw_front(tables, task="helpful", methods=methods, title="Fronts")


def legend_texts(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def drawn_points(axis, alpha):
    """Values of the markers of one opacity."""
    markers = [container.lines[0] for container in axis.containers]
    return sorted(y for line in markers if line.get_alpha() == alpha for y in line.get_ydata())


def test_front_draws_win_rate_and_reward_and_fades_within_each_series(all_metrics, best_of_n):
    low = (pl.col("policy") == "vbon-n4-s0") & (pl.col("procedure") == "none")
    changed = all_metrics.with_columns(
        win_rate=pl.when(low).then(0.51).otherwise("win_rate"),
        mean_reward=pl.when(low).then(REFERENCE_REWARD - 0.1).otherwise("mean_reward"),
    )
    figure = front_of_helpful(changed, best_of_n)
    rows = without_reference(changed.filter(task="helpful", procedure="none", select="reward", scorer="judge"))
    for axis, value, reference in zip(figure.axes, ("win_rate", "mean_reward"), (0.5, REFERENCE_REWARD), strict=True):
        faded = []
        for _, part in rows.group_by("method", "transform", "calibrator"):
            best = on_front(part["kl"].to_numpy(), part[value].to_numpy() - reference + 0.5)
            faded += part.filter(~pl.Series(best))[value].to_list()
        np.testing.assert_allclose(drawn_points(axis, 0.35), sorted(faded))
        assert changed.filter(low, select="reward")[value][0] in faded
        assert len(drawn_points(axis, 1.0)) == rows.height - len(faded)


def test_front_draws_best_of_n_at_its_formula(all_metrics, best_of_n):
    figure = front_of_helpful(all_metrics, best_of_n)
    for axis, value in zip(figure.axes, ("win_rate", "mean_reward"), strict=True):
        line = axis.lines[0]
        sizes = [n for n in (1, 2, 4, 8) if BestOf(n).kl <= axis.get_xlim()[1]]
        assert len(sizes) >= 3
        np.testing.assert_allclose(line.get_xdata(), [BestOf(n).kl for n in sizes])
        wanted = [best_of_n.filter(n=n)[value].mean() for n in sizes]
        np.testing.assert_allclose(line.get_ydata(), wanted)


def test_front_says_the_shares_of_the_pooled_fronts(all_metrics, best_of_n):
    texts = legend_texts(front_of_helpful(all_metrics, best_of_n))
    rows = without_reference(all_metrics.filter(task="helpful", procedure="none", select="reward", scorer="judge"))
    members = (rows["method"] != "vbon").cast(pl.Int64).to_numpy()
    share = front_shares(rows["kl"].to_numpy(), rows["win_rate"].to_numpy(), members, 2)[0]
    assert f"vBoN: {share:.0%}, {share:.0%} of the fronts" in texts  # the reward is a multiple of the gain
    assert texts[-1] == "best-of-n of the reference"
    assert len(texts) == len(set(texts))


def test_front_of_two_forms_shows_just_these(all_metrics, best_of_n):
    figure = front_of_helpful(all_metrics, best_of_n, ["vbon", "vbon_bound"])
    texts = legend_texts(figure)
    assert [text.split(":")[0] for text in texts] == ["vBoN", "vBoN bound", "best-of-n of the reference"]
    assert sum(int(text.split(": ")[1].split(" %")[0].split("%")[0]) for text in texts[:2]) == 100


def test_front_leaves_out_those_of_fewer_rollouts(all_metrics, best_of_n):
    few = all_metrics.filter(method="vbon").with_columns(
        n_rollouts=pl.lit(8, pl.Int64), policy=pl.col("policy") + "-k8"
    )
    most = pl.when(pl.col("method") == "vbon").then(32).otherwise("n_rollouts").cast(pl.Int64)
    both = pl.concat([all_metrics.with_columns(n_rollouts=most), few])
    assert legend_texts(front_of_helpful(both, best_of_n)) == legend_texts(front_of_helpful(all_metrics, best_of_n))


@pytest.fixture
def grid(all_metrics):
    """VBoN at one n with 8 and 32 rollouts and two seeds each."""
    base = all_metrics.filter(policy="vbon-n8-s0")
    parts = [
        base.with_columns(
            policy=pl.lit(f"vbon-k{size}-n8-s{seed}"), n_rollouts=pl.lit(size, pl.Int64), seed=pl.lit(seed),
            win_rate=pl.lit(0.6 + size / 1000 + 0.02 * seed), mean_reward=pl.lit(size / 10 + seed),
        )
        for size in (8, 32)
        for seed in (0, 1)
    ]  # fmt: skip
    return pl.concat(parts, how="vertical_relaxed")


def test_cost_draws_means_over_seeds_and_seconds_in_proportion(grid):
    names = grid["policy"].unique().to_list()
    tables = Tables(metrics=grid, rollout_seconds=2.5)
    figure = draw_rollout_cost(tables, task="helpful", names=names)
    rewards, rates = figure.axes
    np.testing.assert_allclose(rewards.containers[0].lines[0].get_xdata(orig=False), [8, 32])
    np.testing.assert_allclose(rewards.containers[0].lines[0].get_ydata(orig=False), [1.3, 3.7])
    np.testing.assert_allclose(rates.containers[0].lines[0].get_ydata(orig=False), [0.618, 0.642])
    ends = rewards.containers[0].lines[2][0].get_segments()[0][:, 1]
    np.testing.assert_allclose(ends, 1.3 + np.array([-1, 1]) * np.std([0, 1], ddof=1))
    (above,) = rewards.child_axes
    figure.canvas.draw()
    np.testing.assert_allclose(above.get_xticks(), [20.0, 80.0])
    assert [label.get_text() for label in above.get_xticklabels()] == ["20", "80"]
    assert legend_texts(figure) == ["vBoN, n = 8 (2 seeds)"]
    with pytest.raises(InputError, match="none of the policies other of task helpful"):
        draw_rollout_cost(tables, task="helpful", names=["other"])


def test_bytes_are_the_same_every_time(grid, all_metrics, best_of_n, tmp_path):
    draws = {
        "cost": lambda: draw_rollout_cost(
            Tables(metrics=grid, rollout_seconds=2.5), task="helpful", names=grid["policy"].to_list()
        ),
        "front": lambda: front_of_helpful(all_metrics, best_of_n),
    }
    for name, draw in draws.items():
        first, second = (
            [path.read_bytes() for path in save_figure(draw(), tmp_path / folder / name)] for folder in ("a", "b")
        )
        assert first == second
