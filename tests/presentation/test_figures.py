"""Figures: what is drawn is what the tables say, and the bytes depend on nothing else."""

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from infalign.errors import InputError
from infalign.mathematics.pareto_front import on_front
from infalign.presentation.comparison import draw_matched_kl, draw_methods
from infalign.presentation.curves import without_reference
from infalign.presentation.miscalibration import draw_calibration
from infalign.presentation.overview import draw_gold, draw_overview
from infalign.presentation.panels import save_figure, share_legend
from infalign.presentation.style import Series, procedure_name, transform_look
from infalign.presentation.win_rates import draw_transforms, draw_win_rates
from presentation.stored_tables import Tables

STANDARD = [("helpful", "none"), ("harmless", "none")]
GOALS = [("helpful", "bon(4)"), ("harmless", "won(4)")]
SIZES = [("helpful", "bon(2)"), ("helpful", "bon(32)"), ("harmless", "won(2)"), ("harmless", "won(32)")]
PANELS = [("helpful", "none"), ("helpful", "bon(4)"), ("harmless", "won(4)")]


@pytest.fixture
def win_rates(metrics, offline, ideal):
    """Draw win rates from the tables, of which one can take another's place."""

    def draw(panels=GOALS, select="reward", **changes):
        tables = Tables(**{"metrics": metrics, "offline": offline, "ideal": ideal, **changes})
        return draw_win_rates(tables, panels=panels, select=select, title="Win rates")

    return draw


def titles(figure):
    return [axis.get_title() for axis in figure.axes]


def legend_texts(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_transforms_has_the_papers_five_panels_with_seven_curves(ideal):
    figure = draw_transforms(Tables(ideal=ideal))
    assert [t for t in titles(figure) if t] == [
        "Standard",
        "Best-of-2",
        "Best-of-4",
        "Worst-of-2",
        "Worst-of-4",
    ]
    panels = [axis for axis in figure.axes if axis.get_title()]
    assert all(len(axis.lines) == 7 for axis in panels)


def test_transforms_draws_the_tables_win_rates(ideal):
    axis = draw_transforms(Tables(ideal=ideal)).axes[0]
    row = ideal.filter(procedure="none", transform="optimal(none)", kl=1.0)
    drawn = max(np.interp(1.0, line.get_xdata(), line.get_ydata()) for line in axis.lines)
    assert drawn == pytest.approx(row["win_rate"][0], abs=1e-4)


def test_transforms_draws_the_procedures_that_a_run_has(ideal):
    figure = draw_transforms(Tables(ideal=ideal.filter(pl.col("procedure") != "won(4)")))
    assert [t for t in titles(figure) if t] == ["Standard", "Best-of-2", "Best-of-4", "Worst-of-2"]
    with pytest.raises(InputError, match=r"none of the procedures none, bon\(2\).*it has bon\(32\)"):
        draw_transforms(Tables(ideal=ideal.filter(procedure="bon(32)")))


def test_calibration_shows_ten_prompts_and_five_maps(scores):
    figure = draw_calibration(Tables(scores={"helpful": scores}), task="helpful")
    left, right = figure.axes
    assert len(left.collections) == 10
    assert all(len(points.get_offsets()) == 100 for points in left.collections)
    labels = [text.get_text() for text in right.get_legend().get_texts()]
    assert [label.split(" (")[0] for label in labels] == [
        "identity",
        "square root",
        "square",
        "cube",
        "quantile",
    ]


def test_panel_draws_each_policy_with_both_intervals(win_rates, metrics):
    figure = win_rates()
    axis = figure.axes[0]
    assert len(axis.containers) == 4  # raw, identity, exp(10), exp(10) with anchors(1)
    for container in axis.containers:
        points, _, bars = container.lines
        assert len(points.get_xdata()) == 3
        assert len(bars) == 2  # horizontal and vertical
    lowest = metrics.filter(task="helpful", procedure="bon(4)", select="reward", transform="raw")
    np.testing.assert_allclose(sorted(axis.containers[0].lines[0].get_ydata()), sorted(lowest["win_rate"]))


def test_titles_name_task_procedure_selector_and_judge(win_rates, metrics):
    figure = win_rates(select="judge")
    assert titles(figure)[0] == "helpful, best-of-4\n(selected by judge, scored by judge)"
    figure = win_rates(STANDARD)
    assert titles(figure)[1] == "harmless, standard\n(scored by judge)"


def test_legend_is_shared_and_names_limit_and_offline_frontier(win_rates, metrics):
    figure = win_rates(SIZES)
    texts = legend_texts(figure)
    assert texts[0] == "PPO, uncalibrated"
    assert "CTRL exp(10), anchors(1)" in texts
    assert texts[-2].startswith("limit") and texts[-1].startswith("offline frontier")
    assert len(texts) == len(set(texts))
    assert len(titles(figure)) == 4


def test_fewer_rollouts_are_a_series_of_their_own(win_rates, metrics):
    fewer = metrics.filter(transform="identity").with_columns(n_rollouts=pl.lit(5, dtype=pl.Int64))
    figure = win_rates(STANDARD[:1], metrics=pl.concat([metrics, fewer]))
    assert {"CTRL identity", "CTRL identity, K = 5"} <= set(legend_texts(figure))


def test_panel_without_policies_is_an_error(win_rates, metrics):
    message = r"metrics: no policy of task summaries with none, select reward, scorer judge; tasks are harmless"
    with pytest.raises(InputError, match=message):
        win_rates([("summaries", "none")])


def test_overview_leaves_out_undefined_shares_and_counts_them(metrics):
    figure = draw_overview(Tables(metrics=metrics), panels=GOALS)
    assert titles(figure)[0] == "helpful, best-of-4\n(9 policies, 3 undefined)"
    drawn = sum(len(points.get_offsets()) for points in figure.axes[0].collections)
    assert drawn == 9
    undefined = metrics.with_columns(share_of_limit=pl.lit(None, dtype=pl.Float64))
    figure = draw_overview(Tables(metrics=undefined), panels=STANDARD[:1])
    assert "no policy has a share of the limit" in figure.axes[0].texts[0].get_text()


def test_gold_figure_marks_differing_verdicts():
    comparison = pl.DataFrame(
        {
            "claim": ["one", "two"], "ours": [0.05, 0.01], "ci_low": [0.03, -0.01], "ci_high": [0.07, 0.03],
            "verdict": ["reproduced", "underpowered"], "ours_gold": [0.04, -0.02], "ci_low_gold": [0.02, -0.03],
            "ci_high_gold": [0.06, -0.01], "verdict_gold": ["reproduced", "not reproduced"],
        }
    )  # fmt: skip
    figure = draw_gold(Tables(gold=comparison))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["one", "two *"]
    empty = draw_gold(Tables(gold=comparison.clear()))
    assert "no claim was evaluated by both" in empty.axes[0].texts[0].get_text()


def test_undefined_intervals_are_left_out(win_rates, metrics):
    unknown = metrics.with_columns(ci_low=pl.lit(None, dtype=pl.Float64), kl_high=pl.lit(None, dtype=pl.Float64))
    figure = win_rates(STANDARD[:1], metrics=unknown)
    assert figure.axes[0].get_xlim()[1] > 1.0


def test_saved_bytes_are_the_same_every_time(win_rates, tmp_path):
    contents = []
    for name in ("first", "second"):
        paths = save_figure(win_rates(), tmp_path / name / "f.x")
        assert [path.name for path in paths] == ["f.x.svg", "f.x.png"]
        contents.append([path.read_bytes() for path in paths])
    assert contents[0] == contents[1]
    assert b"<dc:date>" not in contents[0][0]


def test_methods_fades_what_is_dominated_and_draws_the_front(all_metrics, ideal):
    figure = draw_methods(Tables(metrics=all_metrics, ideal=ideal), panels=PANELS)
    axis = figure.axes[1]
    rows = without_reference(all_metrics.filter(task="helpful", procedure="bon(4)", select="reward", scorer="judge"))
    front = rows.filter(on_front(rows["kl"].to_numpy(), rows["win_rate"].to_numpy())).sort("kl")
    drawn = {1.0: [], 0.35: []}
    for container in axis.containers:
        markers = container.lines[0]
        drawn[1.0 if markers.get_alpha() == 1.0 else 0.35] += list(markers.get_ydata())
    np.testing.assert_allclose(sorted(drawn[1.0]), front["win_rate"])
    assert len(drawn[0.35]) == rows.height - front.height > 0
    stairs = next(line for line in axis.lines if line.get_drawstyle() == "steps-post")
    np.testing.assert_allclose(stairs.get_ydata()[:-1], [0.5, *front["win_rate"]])


def test_methods_names_every_series_once(all_metrics, ideal):
    texts = legend_texts(draw_methods(Tables(metrics=all_metrics, ideal=ideal), panels=PANELS))
    wanted = [
        "PPO, uncalibrated",
        "CTRL identity",
        "CTRL exp(10)",
        "RLOO exp(10)",
        "regression exp(10)",
        "DPO",
    ]
    wanted += ["IPO", "BoN-SFT", "BoNBoN", "BOND", "J-BOND", "vBoN", "vBoN bound"]
    assert [text for text in texts if text in wanted] == wanted
    assert len(texts) == len(set(texts))


def test_methods_of_a_run_of_ppo_alone(metrics, ideal):
    figure = draw_methods(Tables(metrics=metrics, ideal=ideal), panels=GOALS[1:])
    assert legend_texts(figure)[:2] == ["PPO, uncalibrated", "CTRL identity"]


def test_policies_far_beyond_the_others_are_counted_instead_of_squeezing_the_axis(win_rates, metrics):
    far = metrics.filter(transform="raw", strength=1.0).with_columns(kl=pl.lit(40.0), kl_high=pl.lit(41.0))
    figure = win_rates(STANDARD[:1], metrics=pl.concat([metrics, far]))
    assert figure.axes[0].get_xlim()[1] < 3
    assert "1 policy beyond, up to KL 40.0 →" in [text.get_text() for text in figure.axes[0].texts]


def test_baselines_are_in_the_papers_figures(win_rates, all_metrics):
    figure = win_rates(metrics=all_metrics)
    assert {"IPO", "BoNBoN", "BoN-SFT", "BOND", "PPO, uncalibrated"} <= set(legend_texts(figure))
    assert len(figure.axes[0].containers) == 14


def test_matched_kl_draws_the_tables_differences(methods):
    figure = draw_matched_kl(Tables(methods=methods), panels=PANELS, kl=0.5)
    axis = figure.axes[1]
    rows = methods.filter(task="helpful", procedure="bon(4)", select="reward", scorer="judge", kl=0.5)
    shown = rows.filter(pl.col("series") != "CTRL exp(10)")
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert sorted(labels) == sorted(shown["series"])
    for container in axis.containers:
        place = int(container.lines[0].get_ydata()[0])
        row = shown.row(by_predicate=pl.col("series") == labels[place], named=True)
        assert container.lines[0].get_xdata()[0] == pytest.approx(100 * row["difference"])
        ends = container.lines[2][0].get_segments()[0][:, 0]
        np.testing.assert_allclose(ends, [100 * row["difference_low"], 100 * row["difference_high"]])
    assert len(axis.containers) == shown["difference"].count() == shown.height - 1
    assert [text.get_text() for text in axis.texts] == ["not reached: KL 0.05–0.30"]
    assert labels[-1] == "J-BOND"


def test_matched_kl_says_why_there_is_no_difference(methods):
    unreached = methods.filter(kl=1.0).with_columns(difference=pl.lit(None, dtype=pl.Float64))
    texts = [
        text.get_text() for text in draw_matched_kl(Tables(methods=unreached), panels=PANELS, kl=1.0).axes[0].texts
    ]
    assert "CTRL does not reach it" in texts
    without = methods.with_columns(control=pl.lit(None, dtype=pl.String), difference=pl.lit(None, dtype=pl.Float64))
    texts = [text.get_text() for text in draw_matched_kl(Tables(methods=without), panels=PANELS, kl=0.5).axes[0].texts]
    assert "no CTRL series was trained for this goal" in texts
    with pytest.raises(InputError, match=r"select reward, scorer judge and KL 0\.3; KLs are 0\.25, 0\.5, 1"):
        draw_matched_kl(Tables(methods=methods), panels=PANELS, kl=0.3)


def test_methods_have_looks_of_their_own():
    rewarded = [Series(name, "exp(10)", "empirical") for name in ("ppo", "rloo", "regression")]
    others = ("dpo", "ipo", "bon_sft", "bonbon", "bond", "jbond", "vbon", "vbon_bound", "mine")
    looks = [series.look for series in [*rewarded, *(Series(name, None) for name in others)]]
    assert len({(look.color, look.marker, look.filled) for look in looks}) == len(looks)
    assert not Series("vbon_bound", None).look.filled


def test_looks_are_fixed_and_distinct():
    names = ["raw", "identity", "log", "exp(5)", "exp(10)", "exp(-5)", "exp(-10)"]
    looks = [transform_look(name) for name in names]
    assert len({look[0] for look in looks}) == len({look[1] for look in looks}) == len(names)
    assert transform_look("exp(7)") == transform_look("exp(7)")
    assert not Series("ppo", "exp(10)", "anchors(1)").look.filled
    assert procedure_name("won(32)") == "worst-of-32"


@pytest.mark.parametrize(("n", "columns"), [(4, 2), (20, 2), (9, 3)])
def test_a_legend_is_no_wider_than_its_figure(n, columns):
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    name = "CTRL exp(-10), anchors(1), K = 100 {}" if n == 20 else "CTRL {}"
    share_legend(figure, {name.format(place): Line2D([], []) for place in range(n)})
    (legend,) = figure.legends
    assert legend.get_window_extent().width <= figure.bbox.width
    assert legend._ncols == columns
