"""Planning under budgets, against explicit enumeration, closed forms and cases whose best choice is known."""

import warnings
from dataclasses import astuple
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm, poisson

from infalign.errors import InputError
from infalign.mathematics.frontier import ideal, offline
from infalign.mathematics.optimum import optimal
from infalign.mathematics.planning import Plan, beaten_others, candidate_procedures, plan, split_prompts

pytestmark = pytest.mark.filterwarnings("ignore:.*rollouts per prompt")


def related(prompts, k, seed, noise=1.0):
    """Rewards, and judge scores that agree with them in part."""
    rng = np.random.default_rng(seed)
    reward = rng.normal(size=(prompts, k))
    return reward, reward + noise * rng.normal(size=reward.shape)


def shrunk(win_rate, k):
    """A win rate against the other rollouts as one against all, the response itself a tie."""
    return 0.5 + (k - 1) / k * (win_rate - 0.5)


# By enumeration


def enumerated_tilt(values, kl):
    """Weights ∝ exp(values · s) of each prompt, one s by bisection on the mean KL."""
    low, high = 0.0, 1e6
    for _ in range(300):
        s = (low + high) / 2
        weights = np.exp(s * (values - values.max(1, keepdims=True)))
        weights /= weights.sum(1, keepdims=True)
        spent = np.mean(np.sum(weights * np.log(values.shape[1] * np.maximum(weights, 1e-300)), axis=1))
        low, high = (low, s) if spent > kl else (s, high)
    return weights


def enumerated_pick(weights, ranks, procedure):
    """The output of a procedure on one prompt, rewards without ties, ranks 0 to k − 1."""
    k, result = len(weights), np.zeros(len(weights))
    if procedure.name == "sbon":
        for draw in map(list, product(range(k), repeat=procedure.n)):
            share = np.exp(procedure.parameters[1] * (ranks[draw] + 0.5) / k)
            np.add.at(result, draw, np.prod(weights[draw]) * share / share.sum())
        return result
    up_to = np.array([weights[ranks <= rank].sum() for rank in ranks])
    if procedure.name == "bop":
        chances = poisson.pmf(np.arange(60), procedure.parameters[0])
    else:
        chances = np.eye(procedure.n or 1)[-1]
    powers = np.arange(1, len(chances) + 1)
    return sum(c * (up_to**n - (up_to - weights) ** n) for c, n in zip(chances, powers, strict=True))


def enumerated_plan(reward, judge, max_kl, max_n, seed):
    """The best combination on one half of the prompts and its win rate on the other."""
    k = reward.shape[1]
    ranks = (reward[:, :, None] > reward[:, None, :]).sum(2)
    wins = (judge[:, :, None] > judge[:, None, :]) + 0.5 * (judge[:, :, None] == judge[:, None, :])
    beaten = (wins.sum(2) - 0.5) / (k - 1)
    u = (ranks + 0.5) / k
    phis = {
        "raw": reward,
        "identity": u,
        "log": np.log(u),
        "exp(5)": np.exp(5 * u),
        "exp(-5)": -np.exp(-5 * u),
    }
    tilts = {(None, 0.0): np.full(reward.shape, 1 / k)}
    for kl in max_kl * (np.arange(1, 9) / 8) ** 2:
        tilts |= {(name, kl): enumerated_tilt(values, kl) for name, values in phis.items()}
    choosing, reporting = split_prompts(len(reward), seed)
    rates = {}
    for (name, kl), weights in tilts.items():
        for procedure in candidate_procedures(max_n):
            picks = [enumerated_pick(*row, procedure) for row in zip(weights, ranks, strict=True)]
            rates[name, kl, procedure.text] = np.sum(picks * beaten, axis=1)
    best = max(rates, key=lambda choice: rates[choice][choosing].mean())
    return best, rates[best][reporting].mean()


@pytest.mark.parametrize(("seed", "noise"), [(0, 1.0), (3, 1.0), (0, 2.0), (4, 2.0)])
def test_the_choice_and_its_win_rate_by_enumeration(seed, noise):
    reward, judge = related(6, 4, seed, noise)
    transforms = ["raw", "identity", "log", "exp(5)", "exp(-5)"]
    (ours,) = plan(reward, judge, [0.4], [3], transforms=transforms, try_optimal=False, seed=seed)
    (name, kl, procedure), win_rate = enumerated_plan(reward, judge, 0.4, 3, seed)
    assert (ours.transform, ours.procedure) == (name, procedure)
    assert ours.kl == pytest.approx(kl)
    assert ours.win_rate == pytest.approx(win_rate, abs=1e-9)


def test_beaten_others_counts_pairs():
    judge = np.random.default_rng(0).integers(0, 4, size=(5, 7)).astype(float)
    for scores, shares in zip(judge, beaten_others(judge), strict=True):
        for i, share in enumerate(shares):
            others = np.delete(scores, i)
            assert share == pytest.approx(np.mean((scores[i] > others) + 0.5 * (scores[i] == others)))


# Closed forms and known best choices


@pytest.mark.parametrize("n", [1, 2, 4, 9])
def test_best_of_n_of_the_reference_wins_n_of_n_plus_1(n):
    reward, _ = related(4, 600, 1)
    (best,) = plan(reward, reward, [0.0], [n])
    expected = (None, 0.0, None, f"bon({n})" if n > 1 else "none", float(n))
    assert astuple(best)[:5] == expected
    assert shrunk(best.win_rate, 600) == pytest.approx(n / (n + 1), abs=1e-5)


@pytest.mark.parametrize("n", [1, 3])
def test_best_of_n_of_the_logarithm_is_a_power_law(n):
    reward, _ = related(4, 5000, 2)
    (best,) = plan(reward, reward, [0.5], [n], transforms=["log"], try_optimal=False)
    power = n * (1 + 1 / best.beta)
    assert best.kl == 0.5
    assert best.beta == pytest.approx(ideal("log", "none", kl=0.5).beta, rel=1e-2)
    assert shrunk(best.win_rate, 5000) == pytest.approx(power / (power + 1), abs=1e-4)


@pytest.mark.parametrize("transform", ["raw", "identity", "exp(10)", "exp(-5)"])
def test_without_a_procedure_it_is_the_offline_frontier(transform):
    """Against the others a lead is K/(K − 1) times the one against all, where the response meets itself."""
    reward, judge = related(12, 20, 3)
    (best,) = plan(reward, judge, [0.3], [1], transforms=[transform], seed=5)
    point = offline(reward, judge, transform, "none", kl=0.3)
    reporting = split_prompts(12, 5)[1]
    assert best.beta == pytest.approx(point.beta) and best.kl == 0.3
    assert shrunk(best.win_rate, 20) == pytest.approx(point.win_rate_by_prompt[reporting].mean(), abs=1e-9)


def test_few_rollouts_of_normal_scores_find_the_win_rate_of_the_policy():
    """Judge and reward standard normal with correlation ½: a quantile u wins Φ(½ z_u / √1.75)."""
    rng = np.random.default_rng(17)
    reward = rng.normal(size=(4000, 20))
    judge = 0.5 * reward + np.sqrt(0.75) * rng.normal(size=reward.shape)
    (best,) = plan(reward, judge, [0.5], [1], transforms=["identity"])
    beta = ideal("identity", "none", kl=0.5).beta
    u = (np.arange(100_000) + 0.5) / 100_000
    weights = np.exp(u / beta)
    expected = np.sum(weights * norm.cdf(0.5 * norm.ppf(u) / np.sqrt(1.75))) / np.sum(weights)
    assert best.kl == 0.5
    assert abs(best.win_rate - expected) < (best.ci_high - best.ci_low)  # two intervals' half widths


def test_the_optimal_transform_is_taken_where_it_wins_more_and_is_soon_solved():
    reward, _ = related(4, 600, 15)
    (grid,) = plan(reward, reward, [0.2], [16], transforms=["exp(10)"], try_optimal=False)
    (best,) = plan(reward, reward, [0.2], [16], transforms=["exp(10)"])
    assert (grid.transform, best.transform) == ("exp(10)", "optimal(bon(16))")
    assert (best.kl, best.procedure) == (grid.kl, grid.procedure) == (0.2, "bon(16)")
    assert best.win_rate > grid.win_rate
    solution = optimal("bon(16)", kl=0.2)
    u = (np.arange(100_000) + 0.5) / 100_000
    below = np.cumsum(np.exp(solution.at(u) / solution.beta))
    assert best.beta == pytest.approx(solution.beta, rel=1e-2)
    assert shrunk(best.win_rate, 600) == pytest.approx(1 - np.mean((below / below[-1]) ** 16), abs=2e-4)
    assert plan(reward, reward, [0.2], [17], transforms=["exp(10)"])[0].transform == "exp(10)"


def test_an_agreeing_judge_asks_for_the_whole_of_both_budgets():
    reward, judge = related(20, 60, 4, noise=0.3)
    for best, kl, n in zip(plan(reward, judge, [0.2, 0.8], [2, 6]), [0.2, 0.2, 0.8, 0.8], [2, 6] * 2, strict=True):
        assert (best.kl, best.procedure) == (kl, f"bon({n})")


def test_an_opposed_judge_asks_for_the_reference_itself():
    reward, _ = related(10, 30, 5)
    (best,) = plan(reward, -reward, [0.5], [3])
    assert astuple(best)[:5] == (None, 0.0, None, "none", 1.0)
    assert best.win_rate == pytest.approx(0.5)


def test_a_judge_that_turns_at_the_top_asks_for_few_draws():
    """Judge 0.7 − |u − 0.7|: beyond u = 0.7 more reward is worse, so the best n lies inside the budget."""
    reward, _ = related(4, 400, 6)
    u = (reward.argsort(1).argsort(1) + 0.5) / 400
    (best,) = plan(reward, -np.abs(u - 0.7), [0.0], [40])

    def beaten(v):
        distance = abs(v - 0.7)
        return 1 - (min(0.7 + distance, 1.0) - max(0.7 - distance, 0.0))

    exact = [quad(lambda v, n=n: beaten(v) * n * v ** (n - 1), 0, 1, points=[0.4, 0.7])[0] for n in range(1, 41)]
    assert 1 < best.n_mean < 8 and np.argmax(exact) + 1 < 8
    assert shrunk(best.win_rate, 400) == pytest.approx(max(exact), abs=0.01)
    assert shrunk(best.win_rate, 400) > max(exact) - 1e-4


def test_a_judge_that_turns_at_the_top_asks_for_less_kl():
    reward, _ = related(6, 400, 7)
    u = (reward.argsort(1).argsort(1) + 0.5) / 400
    (best,) = plan(reward, -np.abs(u - 0.7), [3.0], [1], transforms=["identity"])
    assert 0 < best.kl < 3.0
    further = offline(reward, -np.abs(u - 0.7), "identity", "none", kl=3.0).win_rate
    assert best.win_rate > further + 0.02


# Halves, invariances


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 60), st.integers(0, 1000))
def test_the_halves_share_no_prompt(n_prompts, seed):
    choosing, reporting = split_prompts(n_prompts, seed)
    assert sorted([*choosing, *reporting]) == list(range(n_prompts))
    assert 0 <= len(reporting) - len(choosing) <= 1


def test_the_reporting_half_takes_no_part_in_the_choice():
    reward, judge = related(20, 30, 8)
    choosing, reporting = split_prompts(20, 0)
    (before,) = plan(reward, judge, [0.5], [3])
    changed = judge.copy()
    changed[reporting] = -reward[reporting]
    (after,) = plan(reward, changed, [0.5], [3])
    assert astuple(before)[:5] == astuple(after)[:5]
    assert after.win_rate < 0.5 < before.win_rate
    changed[choosing] = -reward[choosing]
    assert plan(reward, changed, [0.5], [3])[0].procedure == "none"


def test_the_choice_is_not_reported_on_what_it_was_made_from():
    """With an unrelated judge the best of many wins on its own half only: z is standard normal here."""
    deviations = []
    for seed in range(25):
        reward, judge = np.random.default_rng(seed).normal(size=(2, 40, 20))
        (best,) = plan(reward, judge, [0.5], [3], transforms=["identity", "exp(10)"], seed=seed)
        if best.ci_high > best.ci_low:
            deviations.append((best.win_rate - 0.5) / ((best.ci_high - best.ci_low) / 3.92))
    assert len(deviations) > 15
    assert abs(np.mean(deviations)) < 4 / np.sqrt(len(deviations))


def test_increasing_maps_change_nothing_but_raw():
    reward, judge = related(12, 25, 9)
    scale = np.geomspace(0.2, 5, 12)[:, None]
    transforms = ["identity", "log", "exp(10)", "exp(-10)"]
    (before,) = plan(reward, judge, [0.5], [3], transforms=transforms)
    (after,) = plan(np.exp(scale * reward), judge**3, [0.5], [3], transforms=transforms)
    assert (before.transform, before.kl, before.procedure) == (after.transform, after.kl, after.procedure)
    assert astuple(before)[5:] == pytest.approx(astuple(after)[5:])
    raw = [
        plan(r, judge, [0.5], [3], transforms=["raw"], try_optimal=False)[0] for r in (reward, np.exp(scale * reward))
    ]
    assert raw[0].win_rate != pytest.approx(raw[1].win_rate, abs=1e-6)


def test_several_budgets_are_the_single_ones_in_order():
    reward, judge = related(10, 40, 10)
    few = ["raw", "exp(5)"]
    together = plan(reward, judge, [0.1, 0.5], [1, 2.5, 4], transforms=few, seed=3)
    single = [plan(reward, judge, [kl], [n], transforms=few, seed=3)[0] for kl in (0.1, 0.5) for n in (1, 2.5, 4)]
    assert together == single
    assert all(isinstance(best, Plan) and best.n_mean <= 4 for best in together)


@settings(max_examples=40, deadline=None)
@given(st.floats(1, 500))
def test_candidates_keep_the_budget_of_draws(max_n):
    candidates = candidate_procedures(max_n)
    costs = [procedure.mean_draws for procedure in candidates]
    assert costs == sorted(costs) and len(set(candidates)) == len(candidates)
    assert costs[-1] <= max_n * (1 + 1e-12)
    texts = {procedure.text for procedure in candidates}
    assert max_n < 2 or {"none", "bon(2)", f"bon({int(max_n)})", f"sbon({int(max_n)}, 5.0)"} <= texts


# Warnings and bad input


def test_what_the_rollouts_cannot_reach_is_left_out_and_counted():
    reward, judge = related(8, 4, 11)
    with pytest.warns(UserWarning, match=r"4 of 8 KLs, as 4 rollouts per prompt .* less than 1.38629"):
        (best,) = plan(reward, judge, [4.0], [1])
    assert best.kl <= 1.0
    with pytest.warns(UserWarning, match="procedures of more than 4 draws, though max_n is 9"):
        (best,) = plan(reward, judge, [0.1], [9])
    assert best.n_mean <= 4


def test_many_draws_warn_and_few_do_not():
    reward, judge = related(8, 40, 12)
    with pytest.warns(UserWarning, match="up to 5 draws from 40 rollouts per prompt: above a tenth"):
        plan(reward, judge, [0.1], [2, 5], transforms=["log"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plan(reward, judge, [0.1], [2, 4], transforms=["log"])


def test_two_prompts_give_no_interval():
    reward, judge = related(2, 30, 13)
    with pytest.warns(UserWarning, match="a single prompt is left to report"):
        (best,) = plan(reward, judge, [0.1], [2])
    assert 0 <= best.win_rate <= 1 and np.isnan([best.ci_low, best.ci_high]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_kl": [-0.1]}, r"max_kl must be a finite number >= 0, got -0.1; give nats"),
        ({"max_kl": [float("nan")]}, r"max_kl must be a finite number >= 0, got nan"),
        ({"max_n": [0.5]}, r"max_n must be a finite number >= 1, got 0.5; give mean draws"),
        ({"max_n": [float("inf")]}, r"max_n must be a finite number >= 1, got inf"),
        ({"transforms": ["square"]}, "unknown transform 'square'"),
        ({"reward": np.ones((4, 20))}, "all values of reward are tied within every prompt"),
        ({"judge": np.ones((4, 20))}, "all values of judge are tied within every prompt"),
        ({"reward": np.eye(20)[:1], "judge": np.eye(20)[:1]}, "planning needs at least 2 prompts.* got 1"),
        ({"reward": np.ones((4, 1)), "judge": np.ones((4, 1))}, "at least 2 rollouts per prompt, got 1"),
        ({"judge": np.ones((4, 5))}, r"reward has shape \(4, 20\), judge \(4, 5\)"),
        ({"judge": np.full((4, 20), np.nan)}, "judge must be finite, got nan"),
        ({"level": 1.0}, "level must lie between 0 and 1"),
        ({"resamples": 0}, "resamples must be >= 1"),
    ],
)
def test_bad_input(change, message):
    reward, judge = related(4, 20, 14)
    arguments = {"reward": reward, "judge": judge, "max_kl": [0.1], "max_n": [2]} | change
    with pytest.raises(InputError, match=message):
        plan(**arguments)
