"""Figures of hedging: what is drawn is what the tables say."""

import numpy as np
import polars as pl
import pytest

from infalign.errors import InputError
from infalign.mathematics.statistics import Bootstrap
from infalign.presentation.panels import save_figure
from infalign.studies.hedging.block import HedgedPool
from infalign.studies.hedging.figures import draw_hacking, draw_poisson_tilt, draw_regimes, draw_tradeoff
from infalign.studies.hedging.tables import N_GRID, hedge_tables, poisson_tilt_table, regime_table
from presentation.stored_tables import Tables


@pytest.fixture(scope="module")
def tables():
    """Two proxies of a task, the second a reversed one."""
    rng = np.random.default_rng(0)
    pool = HedgedPool(task="sums", true_reward="gold", sbon_n=[4, 8], proxies={"own": {}, "bad": {}})
    scores = rng.normal(size=(8, 50))
    u = (scores.argsort(axis=1).argsort(axis=1) + 0.5) / 50
    ids = [f"p{i}" for i in range(8)]
    parts = [
        hedge_tables(pool, name, ids, (list(sign * scores), list(10 + 3 * (u - 0.7 * u**2))), Bootstrap(resamples=50))
        for name, sign in (("own", 1.0), ("bad", -1.0))
    ]  # fmt: skip
    hacking, hedges, _ = map(pl.concat, zip(*parts, strict=True))
    return Tables(hacking=hacking, hedges=hedges)


def legend_texts(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def points(axis):
    """The single markers of a panel."""
    return [(line.get_xdata()[0], line.get_ydata()[0]) for line in axis.lines if len(line.get_xdata()) == 1]


def test_hacking_standardises_and_marks_the_hedges(tables):
    hacking, hedges = tables["hacking"], tables["hedges"]
    figure = draw_hacking(tables, task="sums")
    assert [axis.get_title() for axis in figure.axes] == ["proxy: own", "proxy: bad"]
    axis = figure.axes[1]
    curves = [line for line in axis.lines if len(line.get_xdata()) == N_GRID]
    assert len(curves) == 2 * 5
    proxy, true = curves[:2]
    own = hacking.filter(proxy="bad", method="bon").sort("parameter")
    scaled = (own["expected_true"] - own["expected_true"][0]) / own["spread_true"][0]
    np.testing.assert_allclose(true.get_ydata(), scaled, atol=1e-12)
    np.testing.assert_allclose(true.get_xdata(), own["kl"])
    scaled = (own["expected_proxy"] - own["reference_proxy"]) / own["spread_proxy"]
    np.testing.assert_allclose(proxy.get_ydata(), scaled, atol=1e-12)
    assert points(axis)[0] == pytest.approx((0.0, 0.0), abs=1e-9)  # hedged at the reference
    found = hedges.filter(proxy="own", method="tilt").row(0, named=True)
    moved = (found["expected_true"] - own["reference_true"][0]) / own["spread_true"][0]
    assert any(point == pytest.approx((found["kl"], moved)) for point in points(figure.axes[0]))
    texts = legend_texts(figure)
    assert texts[:5] == ["best-of-n", "soft best-of-4", "soft best-of-8", "best-of-Poisson", "exact tilt"]
    assert "true reward: gold (thick)" in texts


def test_tradeoff_draws_gains_with_intervals_and_the_largest_parameters(tables):
    hacking, hedges = tables["hacking"], tables["hedges"]
    figure = draw_tradeoff(tables, task="sums")
    axis = figure.axes[0]
    row = hedges.filter(proxy="own", method="bon").row(0, named=True)
    (bar,) = axis.collections[1].get_segments()
    np.testing.assert_allclose(bar, [[row["kl"], row["reference_low"]], [row["kl"], row["reference_high"]]])
    end = hacking.filter(proxy="own", method="bon").sort("parameter").row(-1, named=True)
    assert any(point == pytest.approx((end["kl"], end["gain"])) for point in points(axis))
    assert "largest parameter" in legend_texts(figure)
    for draw in (draw_tradeoff, draw_hacking):
        with pytest.raises(InputError, match="nothing of task letters; hedge it with a pool"):
            draw(tables, task="letters")


def test_regimes_name_themselves():
    table = regime_table()
    figure = draw_regimes(Tables(regimes=table))
    assert [axis.get_title().split("\n")[0] for axis in figure.axes] == [
        "monotone up", "monotone down", "hacking", "initial decline",
    ]  # fmt: skip
    assert legend_texts(figure) == ["best-of-n", "soft best-of-16", "best-of-Poisson", "exact tilt"]
    own = table.filter(shape="falls", method="bop")
    np.testing.assert_allclose(figure.axes[1].lines[2].get_ydata(), own["expected_true"])


def test_poisson_tilt_states_the_largest_gaps():
    table = poisson_tilt_table()
    figure = draw_poisson_tilt(Tables(poisson_tilt=table))
    said = [axis.texts[0].get_text() for axis in figure.axes]
    assert said[0].startswith("largest: 0.00068 nats\nat μ = 3.3") and said[1].startswith("largest: 0.00017")
    for axis, name in zip(figure.axes, ("kl_gap", "reward_gap"), strict=True):
        np.testing.assert_allclose(axis.lines[0].get_ydata(), table[name])
        assert axis.lines[1].get_ydata()[0] == table[name].max()


def test_bytes_are_the_same_every_time(tables, tmp_path):
    first, second = (
        [path.read_bytes() for path in save_figure(draw_hacking(tables, task="sums"), tmp_path / name / "hacking")]
        for name in ("a", "b")
    )
    assert first == second
