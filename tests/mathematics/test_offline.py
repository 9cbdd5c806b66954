"""The offline frontier, against enumeration and in the limit of many rollouts."""

import warnings
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import poisson

from infalign.errors import InputError
from infalign.mathematics.frontier import ideal, offline
from infalign.mathematics.procedures import parse_procedure
from infalign.mathematics.ranks import mid_ranks
from infalign.mathematics.tilting import tilt
from infalign.mathematics.transforms import Exponential

pytestmark = pytest.mark.filterwarnings("ignore:.*draws.*rollouts")
RNG = np.random.default_rng(31)
small = st.lists(st.integers(0, 4).map(float), min_size=5, max_size=5)


def enumerated_pick(p, select, procedure):
    """What the procedure outputs, over every sequence of n draws with replacement."""
    result, n = np.zeros(len(p)), procedure.n
    for draw in map(list, product(range(len(p)), repeat=n)):
        chance = np.prod(p[draw])
        if procedure.name == "sbon":
            share = np.exp(procedure.parameters[1] * mid_ranks(select)[draw])
        else:
            extreme = select[draw].max() if procedure.name == "bon" else select[draw].min()
            share = (select[draw] == extreme).astype(float)
        np.add.at(result, draw, chance * share / share.sum())
    return result


@settings(max_examples=25, deadline=None)
@given(small, small, st.sampled_from(["bon(3)", "won(3)", "sbon(2, 4.0)", "sbon(3, 2.0)"]))
def test_win_rate_by_enumeration_of_the_draws(reward, judge, text):
    """Draws tied in selection score are equally likely picks, so a tie is shared by weight."""
    reward, judge, procedure = np.array(reward), np.array(judge), parse_procedure(text)
    for select, name in ((reward, "reward"), (judge, "judge")):
        p = tilt(Exponential(2.0).scaled(mid_ranks(reward)), 0.3)
        sides = [enumerated_pick(w, select, procedure) for w in (p, np.full(5, 0.2))]
        wins = (judge[:, None] > judge) + 0.5 * (judge[:, None] == judge)
        point = offline(reward[None], judge[None], "exp(2)", text, name, beta=0.3 * np.exp(2))
        assert point.win_rate == pytest.approx(sides[0] @ wins @ sides[1], abs=1e-10)


def test_best_of_poisson_is_the_mixture_of_best_of_n():
    reward, judge = RNG.normal(size=(2, 3, 12))
    chances = poisson.pmf(np.arange(40), 1.5)
    weights, uniform = tilt(reward, 0.8), np.full((3, 12), 1 / 12)
    for p in (weights, uniform):
        side = parse_procedure("bop(1.5)").offline_weights(p, judge)
        best = [parse_procedure(f"bon({n + 1})").offline_weights(p, judge) for n in range(40)]
        assert np.allclose(side, sum(c * b for c, b in zip(chances, best, strict=True)), atol=1e-12)


@pytest.mark.parametrize("text", ["none", "bon(4)", "won(4)", "sbon(4, 5.0)", "bop(3.5)"])
@pytest.mark.parametrize("transform", ["identity", "log", "exp(10)", "exp(-10)", "optimal(bon(4))"])
def test_many_rollouts_tend_to_the_ideal_frontier(text, transform):
    reward = RNG.permutation(20_000.0 + np.arange(20_000))[None]
    point = offline(reward, reward, transform, text, "judge", kl=0.5)
    limit = ideal(transform, text, kl=0.5)
    assert point.kl == pytest.approx(0.5, rel=1e-9)
    assert point.win_rate == pytest.approx(limit.win_rate, abs=2e-4)
    assert point.beta == pytest.approx(limit.beta, rel=1e-3)


def test_raw_tilts_by_the_reward_itself():
    reward = RNG.normal(size=(4, 30))
    point = offline(reward, reward, "raw", "none", beta=0.7)
    p = tilt(reward, 0.7)
    wins = (reward[:, :, None] > reward[:, None, :]) + 0.5 * np.eye(30)
    assert np.allclose(point.win_rate_by_prompt, np.einsum("pi,pij->p", p, wins) / 30)
    assert np.allclose(point.kl_by_prompt, np.sum(p * np.log(30 * p), axis=1))


def test_one_beta_serves_all_prompts():
    reward = RNG.normal(size=40) * np.geomspace(0.1, 10, 6)[:, None]
    point = offline(reward, reward, "raw", "none", kl=0.5)
    assert point.kl == pytest.approx(0.5)
    assert np.all(np.diff(point.kl_by_prompt) > 0)
    calibrated = offline(reward, reward, "identity", "none", kl=0.5)
    assert np.allclose(calibrated.kl_by_prompt, 0.5)


@pytest.mark.parametrize("text", ["none", "bon(4)", "won(2)", "sbon(4, 5.0)", "bop(3.5)"])
def test_increasing_maps_of_the_reward_change_nothing_but_raw(text):
    reward, judge = RNG.normal(size=(2, 5, 60))
    for transform in ("identity", "exp(10)", "log"):
        points = [offline(r, judge, transform, text, "reward", kl=0.3) for r in (reward, np.exp(reward))]
        assert np.allclose(points[0].win_rate_by_prompt, points[1].win_rate_by_prompt)


@pytest.mark.parametrize("text", ["none", "bon(4)", "won(2)", "sbon(4, 5.0)", "bop(3.5)"])
def test_a_reward_unrelated_to_the_judge_wins_nothing(text):
    reward, judge = RNG.normal(size=(2, 100, 1000))
    rates = offline(reward, judge, "exp(10)", text, "judge", kl=0.5).win_rate_by_prompt
    assert abs(rates.mean() - 0.5) < 5 * rates.std() / np.sqrt(len(rates))


def test_a_tie_in_the_judge_is_even():
    reward = RNG.normal(size=(2, 20))
    assert offline(reward, np.ones((2, 20)), "identity", "bon(2)", kl=0.5).win_rate == pytest.approx(0.5)


def test_a_prompt_with_all_rewards_tied_stays_at_the_reference():
    reward = np.vstack([np.ones(30), np.arange(30.0)])
    point = offline(reward, reward, "identity", "bon(2)", kl=0.5)
    assert point.win_rate_by_prompt[0] == pytest.approx(0.5)
    assert point.kl_by_prompt[0] == pytest.approx(0.0)


@pytest.mark.parametrize("k", [2, 100_000])
def test_from_two_rollouts_to_a_hundred_thousand(k):
    reward = RNG.normal(size=(1, k))
    point = offline(reward, reward, "exp(-50)", "bon(1024)", kl=0.1)
    assert point.kl == pytest.approx(0.1)
    assert 0.5 <= point.win_rate <= 1


@pytest.mark.parametrize("beta", [1e-4, 1e3])
@pytest.mark.parametrize("transform", ["identity", "exp(50)", "exp(-50)", "log", "raw"])
def test_extreme_strengths_stay_finite(beta, transform):
    reward = RNG.normal(size=(3, 100))
    for text in ("none", "bon(1024)", "won(1024)", "sbon(1024, 5.0)", "bop(50)"):
        point = offline(reward, reward, transform, text, beta=beta)
        assert np.all(np.isfinite(point.win_rate_by_prompt))
        assert np.all((point.win_rate_by_prompt >= 0) & (point.win_rate_by_prompt <= 1))
        assert point.beta == pytest.approx(beta)


def test_draws_beyond_a_tenth_of_the_rollouts_warn():
    reward = RNG.normal(size=(2, 100))
    with pytest.warns(UserWarning, match=r"bon\(11\) draws 11 times from 100 rollouts.*biased towards 1/2"):
        offline(reward, reward, "identity", "bon(11)", kl=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        offline(reward, reward, "identity", "bon(10)", kl=0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kl": 5.0}, r"kl must be below 2.99573 nats.*20 rollouts per prompt"),
        ({"kl": None, "beta": 0.0}, "beta must be a finite number > 0, got 0.0"),
        ({"kl": None}, "give exactly one of kl and beta"),
        ({"select": "gold"}, "select must be one of reward, judge, got 'gold'"),
        ({"reward": np.ones((2, 20))}, "all rewards are tied within every prompt"),
        (
            {"reward": np.ones((2, 1)), "judge": np.ones((2, 1))},
            "needs at least 2 rollouts per prompt, got 1",
        ),
        ({"judge": np.ones((2, 5))}, r"reward has shape \(2, 20\), judge \(2, 5\)"),
        ({"judge": np.full((2, 20), np.nan)}, r"judge must be finite, got nan at index \(0, 0\)"),
        ({"reward": np.ones(20)}, r"reward must have 2 dimension\(s\), got shape \(20,\)"),
        ({"reward": np.ones((0, 20))}, "reward is empty"),
    ],
)
def test_bad_input(change, message):
    reward = np.random.default_rng(0).normal(size=(2, 20))
    arguments = {"reward": reward, "judge": reward, "select": "judge", "kl": 0.5} | change
    with pytest.raises(InputError, match=message):
        offline(transform="identity", procedure="none", **arguments)
