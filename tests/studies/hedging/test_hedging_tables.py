"""Tables of hedging: the known optimum is found on one half and reported on the other; changed pairs; theory."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infalign.errors import InputError
from infalign.mathematics.families import Family
from infalign.mathematics.hedging import Pools, expected_rewards
from infalign.mathematics.planning import split_prompts
from infalign.mathematics.statistics import Bootstrap
from infalign.records.pairs import changed_pairs
from infalign.studies.hedging.block import HedgedPool, Proxy
from infalign.studies.hedging.tables import (
    HACKING_SCHEMA,
    HEDGES_SCHEMA,
    N_GRID,
    PROMPT_HEDGES_SCHEMA,
    SHAPES,
    extrema_table,
    hedge_tables,
    parameter_grid,
    poisson_tilt_table,
    regime_table,
)

BOOTSTRAP = Bootstrap(resamples=200, seed=3)
POOL = HedgedPool(task="sums", true_reward="gold", sbon_n=[4], proxies={"own": {}})
P, M = 12, 400
IDS = [f"p{i:02}" for i in range(P)]


def world(true_of_u, *, noise=0.0, seed=0):
    """Proxy and true rewards of P prompts; the true reward is a function of the proxy's quantile."""
    rng = np.random.default_rng(seed)
    proxy = rng.normal(size=(P, M)) * np.exp(rng.normal(size=(P, 1)))
    u = (proxy.argsort(axis=1).argsort(axis=1) + 0.5) / M
    return list(proxy), list(true_of_u(u) + noise * rng.normal(size=u.shape))


def tables(rewards, pool=POOL):
    return hedge_tables(pool, "own", IDS, rewards, BOOTSTRAP)


@pytest.fixture(scope="module")
def hacked():
    return tables(world(lambda u: u - 0.8 * u**2))


def test_tables_have_their_schemas_and_a_row_per_series(hacked):
    for table, schema in zip(hacked, (HACKING_SCHEMA, HEDGES_SCHEMA, PROMPT_HEDGES_SCHEMA), strict=True):
        assert dict(table.schema) == schema
    hacking, hedges, by_prompt = hacked
    series = [("bon", None), ("sbon", 4), ("bop", None), ("tilt", None)]
    assert hedges.select("method", "n").rows() == series
    assert hacking.height == len(series) * N_GRID and by_prompt.height == len(series) * P / 2
    assert set(hacking["n_prompts"]) == set(hedges["n_prompts"]) == {P // 2}


def test_the_known_optimum_is_found(hacked):
    """E u - 0.8 E u² of best-of-n is n/(n + 1) - 0.8 n/(n + 2), largest at (2 - √1.6)/(√1.6 - 1)."""
    row = hacked[1].filter(method="bon").row(0, named=True)
    best = (2 - np.sqrt(1.6)) / (np.sqrt(1.6) - 1)
    assert row["parameter"] == pytest.approx(best, abs=1e-3)
    assert (row["kind"], row["n_extrema"]) == ("interior", 1)
    assert row["expected_true"] == pytest.approx(best / (best + 1) - 0.8 * best / (best + 2), abs=2e-5)
    end = M / (M + 1) - 0.8 * M / (M + 2)
    assert row["largest_parameter"] == M
    assert row["largest_difference"] == pytest.approx(row["expected_true"] - end, abs=1e-3)
    assert row["reference_difference"] == pytest.approx(row["expected_true"] - (0.5 - 0.8 / 3), abs=2e-5)
    assert row["reference_kl"] == 0 and row["reference_parameter"] == 1


def test_halves_choose_and_report_apart():
    """Prompts that choose have their optimum in the middle, those that report prefer no selection at all."""
    choosing, reporting = split_prompts(P, BOOTSTRAP.seed)
    proxy, rising = world(lambda u: u - 0.8 * u**2)
    true = [row.copy() for row in rising]
    for i in reporting:
        true[i] = -((proxy[i].argsort().argsort() + 0.5) / M)
    hacking, hedges, by_prompt = tables((proxy, true))
    bon = hedges.filter(method="bon").row(0, named=True)
    assert bon["parameter"] == pytest.approx((2 - np.sqrt(1.6)) / (np.sqrt(1.6) - 1), abs=1e-3)
    assert bon["expected_true"] == pytest.approx(-bon["parameter"] / (bon["parameter"] + 1), abs=1e-4)
    assert bon["grid_parameter"] == 1 and bon["grid_high"] < 0 < bon["largest_low"]
    assert by_prompt["prompt_id"].unique().sort().to_list() == sorted(IDS[i] for i in reporting)
    assert not {IDS[i] for i in choosing} & set(by_prompt["prompt_id"])
    start = hacking.filter(method="bon").sort("parameter").row(0, named=True)
    assert start["expected_true"] == pytest.approx(-0.5) == start["reference_true"]
    assert start["spread_true"] == pytest.approx(np.sqrt(1 / 12), rel=1e-3)


def test_numbers_are_the_means_of_the_prompts_in_both_tables():
    rewards = world(lambda u: np.sin(5 * u), noise=0.5, seed=1)
    hacking, hedges, by_prompt = tables(rewards)
    places = split_prompts(P, BOOTSTRAP.seed)[1]
    pools = Pools(*([rows[i] for i in places] for rows in rewards))
    for method, n in hedges.select("method", "n").iter_rows():
        same = pl.col("method").eq(method) & pl.col("n").eq_missing(n)
        row, prompts = hedges.filter(same).row(0, named=True), by_prompt.filter(same)
        true, proxy = expected_rewards(Family(method, n), [row["parameter"]], pools)
        np.testing.assert_allclose(prompts["hedge"], true[:, 0])
        assert row["expected_true"] == pytest.approx(prompts["hedge"].mean())
        assert row["expected_proxy"] == pytest.approx(proxy.mean())
        curve = hacking.filter(same).sort("parameter")
        assert prompts["reference"].mean() == pytest.approx(curve["expected_true"][0])
        gains = curve["expected_true"] - curve["expected_true"][0]
        np.testing.assert_allclose(curve["gain"], gains, atol=1e-12)
        assert (curve["gain_low"] <= curve["gain"]).all() and (curve["gain"] <= curve["gain_high"]).all()
        assert prompts["largest"].mean() == pytest.approx(curve["expected_true"][-1])
        assert prompts["grid"].mean() == pytest.approx(curve["expected_true"].max())
        within = hacking.filter(pl.col("kl") <= row["kl"] + 1e-12)
        assert prompts["front"].mean() == pytest.approx(within["expected_true"].max())
        assert row["front_kl"] <= row["kl"] + 1e-12
        for other in ("reference", "largest", "grid", "front"):
            gap = (prompts["hedge"] - prompts[other]).mean()
            assert row[f"{other}_difference"] == pytest.approx(gap, abs=1e-12)
            assert row[f"{other}_low"] <= gap + 1e-12 and gap - 1e-12 <= row[f"{other}_high"]


def test_a_good_proxy_is_used_to_the_end_and_a_reversed_one_not_at_all():
    rewards = world(lambda u: u)
    hedges = tables(rewards)[1]
    assert set(hedges["kind"]) == {"at_upper"} and set(hedges["n_extrema"]) == {0}
    assert hedges["largest_difference"].to_list() == [0.0] * 4
    reversed_ = tables((rewards[0], [-row for row in rewards[1]]))[1]
    assert set(reversed_["kind"]) == {"at_lower"}
    for other in ("reference", "grid", "front"):
        assert reversed_[f"{other}_difference"].to_list() == [0.0] * 4


def test_the_spread_is_that_of_the_responses_even_where_proxies_are_tied():
    proxy, true = world(lambda u: u)
    hacking = tables(([np.round(row) for row in proxy], true))[0]
    assert hacking["spread_true"][0] == pytest.approx(np.sqrt(1 / 12), rel=1e-3)


def test_a_true_reward_that_is_constant_where_it_is_reported_is_an_error():
    proxy, true = world(lambda u: u)
    for i in split_prompts(P, BOOTSTRAP.seed)[1]:
        true[i] = np.zeros(M)
    with pytest.raises(InputError, match="the true reward is constant within every prompt of the half that"):
        tables((proxy, true))


def test_the_grid_has_both_ends_of_the_domain():
    for family in (Family("bon"), Family("bop"), Family("sbon", 4), Family("tilt")):
        grid = parameter_grid(family, 64)
        assert (grid[0], grid[-1]) == family.domain(64)
        assert (np.diff(grid) > 0).all() and len(grid) == N_GRID


def test_regimes_are_those_of_the_theorem():
    table = regime_table()
    names = ("monotone up", "monotone down", "hacking", "initial decline")
    found = table.group_by("shape").agg(pl.col("regime").unique())
    assert dict(found.iter_rows()) == {shape: [name] for shape, name in zip(SHAPES, names, strict=True)}
    bon = table.filter(method="bon", shape="rises")
    n = bon["parameter"].to_numpy()
    np.testing.assert_allclose(bon["expected_true"], n / (n + 1), atol=1e-3)


def test_extrema_are_at_most_one_and_every_regime_occurs():
    table = extrema_table()
    assert table.height == table["shape"].n_unique() * 4 >= 600
    assert set(table["regime"]) == {"monotone up", "monotone down", "hacking", "initial decline"}


def test_poisson_tilt_reaches_its_known_maximum():
    table = poisson_tilt_table()
    top = table.sort("kl_gap").row(-1, named=True)
    assert top["mu"] == pytest.approx(3.36, rel=0.03) and 6.7e-4 < top["kl_gap"] < 8e-4
    assert table["kl_gap"].min() >= -1e-12 and table["reward_gap"].max() == pytest.approx(1.7e-4, rel=0.02)


PAIRS = pl.DataFrame(
    {
        "prompt": [f"p{i}" for i in range(40)], "chosen": [f"c{i}" for i in range(40)],
        "rejected": [f"r{i}" for i in range(40)], "rejected_prompt": [f"q{i}" for i in range(40)],
        "split": ["reward_train"] * 40,
    }
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1), st.integers(1, 40), st.integers(0, 5))
def test_a_share_is_exchanged_with_its_prompts(flipped, n_pairs, seed):
    changed = changed_pairs(PAIRS, n_pairs=n_pairs, flipped=flipped, seed=seed)
    kept = PAIRS.head(n_pairs)
    assert changed.columns == kept.columns and changed.height == n_pairs
    moved = (changed["chosen"] != kept["chosen"]).to_numpy()
    assert moved.sum() == round(flipped * n_pairs)
    for row, before, flip in zip(changed.iter_rows(), kept.iter_rows(), moved, strict=True):
        prompt, chosen, rejected, rejected_prompt, split = before
        assert row == ((rejected_prompt, rejected, chosen, prompt, split) if flip else before)


def test_the_draw_is_seeded_and_grows_with_the_share():
    a, b, more = (
        set(changed_pairs(PAIRS, flipped=share, seed=7)["chosen"]) - set(PAIRS["chosen"]) for share in (0.25, 0.25, 0.5)
    )
    assert a == b < more and len(a) == 10
    assert a != set(changed_pairs(PAIRS, flipped=0.25, seed=8)["chosen"]) - set(PAIRS["chosen"])


def test_pairs_that_are_not_there_are_an_error():
    with pytest.raises(InputError, match="n_pairs must be at most the 40 training pairs there are, got 41"):
        changed_pairs(PAIRS, n_pairs=41)
    with pytest.raises(InputError, match=r"flipped must be a share of the pairs, from 0 to 1, got 1\.5"):
        changed_pairs(PAIRS, flipped=1.5)


def test_names_tell_pools_and_proxies_apart():
    few = POOL.model_copy(update={"proxies": {"a": Proxy(n_pairs=5), "b": Proxy(), "c": Proxy(n_pairs=6)}})
    names = few.proxy_names
    assert names["b"] == "reward_model" and names["a"] != names["c"].replace("c-", "a-")
    assert POOL.folder == "n1000-pall" != POOL.model_copy(update={"n_prompts": 8}).folder
    assert POOL.families == [Family("bon"), Family("sbon", 4), Family("bop"), Family("tilt")]
    several = POOL.model_copy(update={"methods": ["tilt", "sbon"], "sbon_n": [4, 16]})
    assert several.families == [Family("tilt"), Family("sbon", 4), Family("sbon", 16)]
