"""Win rates over all subsets, against enumeration."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import poisson

from infalign.errors import InputError
from infalign.mathematics.ranks import mid_ranks
from infalign.mathematics.winrate import (
    best_of_n_win_rate,
    expected_win_rate,
    selection_weights,
    weighted_win_rate,
    win_rate_by_prompt,
)

scores = st.lists(st.integers(-3, 3).map(float), min_size=6, max_size=9)


def enumerated_weights(select, name, n, quantiles=None, inverse_temperature=None):
    """The pick of every size-n subset, one by one."""
    select, weights = np.asarray(select, dtype=float), np.zeros(len(select))
    subsets = [list(s) for s in combinations(range(len(select)), n)]
    for subset in subsets:
        if name == "sbon":
            share = np.exp(inverse_temperature * quantiles[subset])
        else:
            extreme = select[subset].max() if name == "bon" else select[subset].min()
            share = (select[subset] == extreme).astype(float)
        weights[subset] += share / share.sum()
    weights /= len(subsets)
    if name == "sbon":
        return weights
    return np.array([weights[select == value].mean() for value in select])


@settings(max_examples=40, deadline=None)
@given(scores, st.sampled_from(["bon", "won"]), st.integers(1, 6))
def test_best_and_worst_of_n_weights_by_enumeration(select, name, n):
    weights = selection_weights(select, f"{name}({n})")
    assert np.allclose(weights, enumerated_weights(select, name, n), atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(scores, st.integers(1, 5), st.floats(0, 40))
def test_soft_best_of_n_weights_by_enumeration(select, n, inverse_temperature):
    quantiles = mid_ranks(select)
    weights = selection_weights(select, f"sbon({n}, {inverse_temperature})")
    exact = enumerated_weights(select, "sbon", n, quantiles, inverse_temperature)
    assert np.allclose(weights, exact, atol=1e-10)


def test_best_of_poisson_weights_are_the_mixture_by_enumeration():
    select, mu = [3.0, 1.0, 2.0, 2.0, 5.0, 4.0, 0.0, 2.0], 0.3
    chances = poisson.pmf(np.arange(8), mu)
    exact = sum(c * enumerated_weights(select, "bon", n + 1) for n, c in enumerate(chances)) / chances.sum()
    assert np.allclose(selection_weights(select, f"bop({mu})"), exact, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.data(), st.sampled_from(["none", "bon(3)", "won(3)", "sbon(2, 3.0)", "bop(0.1)"]))
def test_win_rate_by_enumeration_of_both_sides(data, procedure):
    """Selection by one score, the winner by another, both with ties."""
    columns = [np.array(data.draw(scores)) for _ in range(2)]
    judges = [np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(c), max_size=len(c)))) for c in columns]
    if procedure.startswith("sbon"):
        quantiles = [np.mean((columns[1] < c[:, None]) + 0.5 * (columns[1] == c[:, None]), axis=1) for c in columns]
        weights = [enumerated_weights(c, "sbon", 2, q, 3.0) for c, q in zip(columns, quantiles, strict=True)]
    else:
        weights = [selection_weights(c, procedure) for c in columns]
    wins = (judges[0][:, None] > judges[1]) + 0.5 * (judges[0][:, None] == judges[1])
    rate = expected_win_rate(columns[0], judges[0], columns[1], judges[1], procedure)
    assert rate == pytest.approx(weights[0] @ wins @ weights[1], abs=1e-10)


@settings(max_examples=30, deadline=None)
@given(scores, st.sampled_from(["none", "bon(4)", "won(2)", "sbon(3, 5.0)", "bop(0.2)"]))
def test_weights_sum_to_one_and_a_side_against_itself_is_even(select, procedure):
    assert selection_weights(select, procedure).sum() == pytest.approx(1.0, abs=1e-12)
    assert expected_win_rate(select, select, select, select, procedure) == pytest.approx(0.5, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(scores, scores, st.sampled_from(["none", "bon(4)", "won(2)", "sbon(3, 5.0)"]))
def test_increasing_maps_change_nothing_and_sides_swap(a, b, procedure):
    rate = expected_win_rate(a, a, b, b, procedure)
    mapped = [np.exp(np.array(side)) for side in (a, b)]
    assert expected_win_rate(mapped[0], a, mapped[1], b, procedure) == pytest.approx(rate, abs=1e-12)
    assert expected_win_rate(b, b, a, a, "none") == pytest.approx(1 - expected_win_rate(a, a, b, b, "none"))


@given(scores, scores, st.integers(1, 6))
def test_worst_of_n_mirrors_best_of_n(a, b, n):
    negated = [-np.array(side) for side in (a, b)]
    best = expected_win_rate(a, a, b, b, f"bon({n})")
    worst = expected_win_rate(negated[0], negated[0], negated[1], negated[1], f"won({n})")
    assert worst == pytest.approx(1 - best, abs=1e-12)


def test_estimate_is_unbiased_for_the_continuous_law():
    """Policy u^2 against uniform: best-of-2 wins 1 − 2 ∫ u^4 u du = 2/3."""
    rng = np.random.default_rng(5)
    policy, reference = np.sqrt(rng.random((4000, 5))), rng.random((4000, 5))
    rates = win_rate_by_prompt(policy, policy, reference, reference, "bon(2)")
    assert abs(rates.mean() - 2 / 3) < 5 * rates.std() / np.sqrt(len(rates))


@pytest.mark.parametrize("procedure", ["bon(1024)", "won(1024)", "bon(100000)", "bop(100)"])
def test_large_sides_keep_their_weight(procedure):
    weights = selection_weights(np.random.default_rng(0).normal(size=100_000), procedure)
    assert np.all(weights >= 0)
    assert weights.sum() == pytest.approx(1.0, abs=1e-9)


def test_large_soft_best_of_n_keeps_its_weight():
    weights = selection_weights(np.random.default_rng(0).normal(size=256), "sbon(64, 10)")
    assert weights.sum() == pytest.approx(1.0, abs=1e-10)


def test_order_statistic_weight_of_the_top_is_n_over_m():
    weights = selection_weights(np.arange(1000.0), "bon(10)")
    assert weights[-1] == pytest.approx(10 / 1000)
    assert weights[-2] == pytest.approx(10 / 1000 * 990 / 999)


def test_all_tied_is_even():
    assert expected_win_rate([1.0] * 4, [1.0] * 4, [1.0] * 4, [1.0] * 4, "bon(2)") == 0.5


def test_weighted_win_rate_counts_ties_half():
    assert weighted_win_rate([1.0, 2.0], [0.25, 0.75], [2.0, 0.0], [0.5, 0.5]) == pytest.approx(
        0.25 * 0.5 + 0.75 * (0.25 + 0.5)
    )


@pytest.mark.parametrize(("procedure", "needed"), [("bon(4)", 4), ("won(8)", 8), ("sbon(5, 1.0)", 5), ("bop(3.5)", 16)])
def test_too_few_samples(procedure, needed):
    with pytest.raises(InputError, match=f"needs at least {needed} samples per prompt on each side.*got 3"):
        selection_weights([1.0, 2.0, 3.0], procedure)


def test_scores_that_are_not_finite_are_located():
    with pytest.raises(InputError, match=r"policy selection score must be finite, got nan at index \(1,\)"):
        expected_win_rate([1.0, np.nan], [1.0, 1.0], [1.0], [1.0], "none")
    with pytest.raises(InputError, match="reference judge score must be finite, got inf"):
        expected_win_rate([1.0], [1.0], [1.0], [np.inf], "none")


def test_columns_must_agree():
    with pytest.raises(InputError, match="policy: 2 selection scores but 1 judge scores"):
        expected_win_rate([1.0, 2.0], [1.0], [1.0], [1.0], "none")
    with pytest.raises(InputError, match="same number of prompts, at least 1"):
        win_rate_by_prompt([], [], [], [], "none")
    with pytest.raises(InputError, match="policy selection score is empty"):
        expected_win_rate([], [], [1.0], [1.0], "none")


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=3, max_size=5),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=3, max_size=5),
)
def test_another_procedure_of_the_opponent_by_enumeration(policy, reference):
    (select, judge), (other_select, other_judge) = (np.array(side, dtype=float).T for side in (policy, reference))
    rates = []
    for ours in map(list, combinations(range(len(policy)), 3)):
        best = [i for i in ours if select[i] == select[ours].max()]
        for theirs in map(list, combinations(range(len(reference)), 2)):
            worst = [j for j in theirs if other_select[j] == other_select[theirs].min()]
            gaps = np.sign(judge[best][:, None] - other_judge[worst])
            rates.append((1 + gaps.mean()) / 2)
    found = expected_win_rate(select, judge, other_select, other_judge, "bon(3)", "won(2)")
    assert found == pytest.approx(np.mean(rates))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=4, max_size=6), st.integers(1, 3))
def test_best_of_n_against_another_response_by_enumeration(pairs, n):
    select, judge = np.array(pairs, dtype=float).T
    rates = []
    for opponent in range(len(pairs)):
        others = [i for i in range(len(pairs)) if i != opponent]
        for candidates in map(list, combinations(others, n)):
            best = [i for i in candidates if select[i] == select[candidates].max()]
            wins = (judge[best] > judge[opponent]) + 0.5 * (judge[best] == judge[opponent])
            rates.append(wins.mean())  # tied candidates are picked alike
    assert best_of_n_win_rate(select, judge, n) == pytest.approx(np.mean(rates))


def test_the_best_of_n_needs_an_opponent():
    with pytest.raises(InputError, match="needs 1 <= n < 3, the responses per prompt, got 3"):
        best_of_n_win_rate([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 3)
