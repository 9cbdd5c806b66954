"""Calibration: ties, leave-one-out, anchors, errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from infalign.errors import InputError
from infalign.mathematics.calibration import (
    anchored_calibration,
    calibration_errors,
    empirical_calibration,
    fit_anchors,
    log_scores,
    mid_ranks,
    parse_calibrator,
    sigmoid_scores,
)

tied = st.lists(st.integers(-3, 3).map(float), min_size=2, max_size=30)


def test_text_forms():
    assert parse_calibrator("empirical").text == "empirical"
    assert parse_calibrator(" anchors( 5 ) ").text == "anchors(5)"
    assert parse_calibrator(parse_calibrator("anchors(1)")).p == 1


@pytest.mark.parametrize("text", ["median", "anchors", "anchors(0)", "anchors(1.5)", "empirical(2)"])
def test_unknown_calibrator_lists_the_valid_ones(text):
    with pytest.raises(InputError, match=r"valid forms: empirical, anchors\(p\) with p >= 1"):
        parse_calibrator(text)


@given(tied, tied)
def test_empirical_calibration_by_definition(rewards, reference):
    z = np.array(reference)
    for ties, share in (("half", 0.5), ("weak", 1.0), ("strict", 0.0)):
        exact = [np.mean((z < r) + share * (z == r)) for r in rewards]
        assert np.allclose(empirical_calibration(rewards, reference, ties), exact)


@given(tied)
def test_mean_over_the_rollouts_themselves(reference):
    k = len(set(reference))
    assert empirical_calibration(reference, reference, "half").mean() == pytest.approx(0.5)
    distinct = np.arange(float(k + 1))
    assert empirical_calibration(distinct, distinct, "weak").mean() == pytest.approx((k + 2) / (2 * k + 2))
    assert mid_ranks(reference).mean() == pytest.approx(0.5)


@given(tied)
def test_leave_one_out_is_calibration_against_the_others(reference):
    in_reference = np.ones(len(reference), dtype=bool)
    if len(reference) < 3:
        return
    for ties in ("half", "weak", "strict"):
        others = [
            empirical_calibration([r], reference[:i] + reference[i + 1 :], ties)[0] for i, r in enumerate(reference)
        ]
        assert np.allclose(empirical_calibration(reference, reference, ties, in_reference=in_reference), others)


@given(tied, st.floats(0.1, 5), st.floats(-5, 5))
def test_ranks_are_invariant_under_increasing_maps(values, slope, shift):
    mapped = np.exp(slope * np.array(values) / 10) + shift
    assert np.array_equal(mid_ranks(mapped), mid_ranks(values))
    assert np.array_equal(empirical_calibration(mapped, mapped), empirical_calibration(values, values))


def test_calibrated_reward_is_uniform_under_the_reference():
    rng = np.random.default_rng(1)
    reference = np.sort(rng.normal(size=100_000))
    u = np.sort(empirical_calibration(rng.normal(size=20_000), reference))
    distance = np.abs(u - (np.arange(len(u)) + 0.5) / len(u)).max()
    assert distance < 1.95 / np.sqrt(len(u)) + 1.95 / np.sqrt(len(reference))


def test_mid_ranks_work_by_row():
    values = np.random.default_rng(2).integers(0, 5, size=(3, 4, 7)).astype(float)
    assert np.array_equal(mid_ranks(values)[1, 2], mid_ranks(values[1, 2]))


def test_one_anchor_is_a_power_law_through_the_median():
    rng = np.random.default_rng(3)
    reference, rewards = rng.normal(size=101), rng.normal(size=50)
    offset = 0.3
    gamma = np.log(0.5) / np.log(np.median(expit(reference - offset)))
    calibrated = anchored_calibration(rewards, fit_anchors(reference, offset, 1), offset)
    assert np.allclose(calibrated, expit(rewards - offset) ** gamma)


@pytest.mark.parametrize("p", [1, 2, 5, 10])
def test_anchors_have_no_error_at_their_quantiles(p):
    reference = np.random.default_rng(4).gumbel(size=100)
    quantiles = np.arange(1, p + 1) / (p + 1)
    scores = np.quantile(sigmoid_scores(reference, 0.5), quantiles)
    curve = fit_anchors(reference, 0.5, p)
    assert np.allclose(anchored_calibration(scores, curve, None), quantiles)
    assert np.all(np.diff(anchored_calibration(np.linspace(-9, 9, 99), curve, 0.5)) >= 0)


def test_between_and_below_anchors_log_c_is_linear_in_log_score():
    curve = fit_anchors(np.array([0.1, 0.2, 0.4, 0.8]), None, 2)
    (x1, x2), (y1, y2) = curve.log_scores[:2], curve.log_quantiles[:2]
    slope = (y2 - y1) / (x2 - x1)
    below, between = np.exp([x1 - 1, (x1 + x2) / 2])
    assert np.allclose(
        np.log(anchored_calibration([below, between, 1.0], curve, None)), [y1 - slope, (y1 + y2) / 2, 0.0]
    )


def test_coincident_anchors_are_merged_at_their_mean_quantile():
    curve = fit_anchors([1.0, 1.0, 1.0], 0.0, 5)
    assert np.allclose(curve.log_quantiles, [np.log(0.5), 0.0])
    assert anchored_calibration([1.0], curve, 0.0)[0] == pytest.approx(0.5)


def test_a_single_rollout_is_its_own_median():
    curve = fit_anchors([0.7], 0.0, 1)
    assert anchored_calibration([0.7], curve, 0.0)[0] == pytest.approx(0.5)


def test_saturated_rewards_keep_their_order():
    curve = fit_anchors(np.linspace(-900.0, 30.0, 100), 0.0, 10)
    calibrated = anchored_calibration([-900.0, -800.0, 0.0, 25.0, 30.0], curve, 0.0)
    assert np.all(np.diff(calibrated) > 0)
    assert np.allclose(log_scores([-900.0], 0.0), -900.0)


def test_calibration_errors_in_and_out_of_sample():
    rng = np.random.default_rng(5)
    measured, table = rng.normal(size=(200, 100)), rng.normal(size=(200, 100))
    inside, outside = (calibration_errors(measured, t, 0.0) for t in (measured, table))
    assert set(inside) == {"identity", "square root", "square", "cube", "quantile"}
    assert np.all(inside["quantile"] == 0)
    assert outside["quantile"].mean() == pytest.approx(0.045, abs=0.005)
    assert np.allclose(inside["cube"], np.abs(expit(measured) ** 3 - mid_ranks(measured)))


def test_too_few_rollouts():
    with pytest.raises(InputError, match=r"needs at least 2 reference rollouts per prompt, got 1.*anchors\(1\)"):
        empirical_calibration([1.0], [1.0])
    with pytest.raises(InputError, match=r"anchors\(2\) needs at least 2 reference rollouts per prompt, got 1"):
        fit_anchors([1.0], 0.0, 2)


def test_bad_values_are_named():
    with pytest.raises(InputError, match=r"reference reward must be finite, got inf at index \(1,\)"):
        empirical_calibration([1.0], [1.0, np.inf])
    with pytest.raises(InputError, match="ties must be one of half, weak, strict, got 'strong'"):
        empirical_calibration([1.0], [1.0, 2.0], "strong")
    with pytest.raises(InputError, match="has a reward no rollout has"):
        empirical_calibration([3.0], [1.0, 2.0], in_reference=[True])
    with pytest.raises(InputError, match="in_reference must have shape"):
        empirical_calibration([1.0], [1.0, 2.0], in_reference=[True, False])
    with pytest.raises(InputError, match=r"probabilities must lie in \(0, 1\], got 0.0 to 0.5"):
        sigmoid_scores([0.0, 0.5], None)
    with pytest.raises(InputError, match="score is 1 in float64"):
        fit_anchors([900.0, 901.0], 0.0, 1)
    with pytest.raises(InputError, match="measured has 1 prompts, table has 2"):
        calibration_errors([[1.0, 2.0]], [[1.0, 2.0], [1.0, 2.0]], 0.0)
