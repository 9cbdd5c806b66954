"""Intervals: coverage, pairing, interpolation at a KL, power."""

import numpy as np
import pytest

from infalign.errors import InputError
from infalign.mathematics.ranks import pairwise_agreement
from infalign.mathematics.statistics import (
    Curve,
    bootstrap_mean,
    bootstrap_ratio,
    difference_at_kl,
    paired_difference,
    power,
    value_at_kl,
)

RNG = np.random.default_rng(41)
NOISE = RNG.normal(scale=0.1, size=(3, 200))


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_interval_is_about_two_standard_errors(method):
    values = RNG.random(400)
    interval = bootstrap_mean(values, method=method)
    width = 1.96 * values.std() / 20
    assert interval.estimate == values.mean()
    assert interval.high - values.mean() == pytest.approx(width, rel=0.1)
    assert values.mean() - interval.low == pytest.approx(width, rel=0.1)


def test_interval_covers_at_its_level():
    samples = RNG.exponential(size=(300, 60))
    inside = [i.low <= 1 <= i.high for i in (bootstrap_mean(s, level=0.9, resamples=400) for s in samples)]
    assert 0.83 < np.mean(inside) < 0.95


def test_the_seed_decides_the_interval():
    values = RNG.random(50)
    assert bootstrap_mean(values, seed=1) == bootstrap_mean(values, seed=1)
    assert bootstrap_mean(values, seed=1) != bootstrap_mean(values, seed=2)


def test_one_prompt_has_no_interval():
    interval = bootstrap_mean([0.7])
    assert interval.estimate == 0.7
    assert np.isnan([interval.low, interval.high]).all()


def test_pairing_removes_what_prompts_share():
    base = RNG.normal(size=300)
    a, b = base + 0.1 + 0.01 * RNG.normal(size=300), base
    interval = paired_difference(a, b)
    assert interval.estimate == pytest.approx(0.1, abs=0.01)
    assert interval.high - interval.low < 0.01


def test_a_ratio_is_the_mean_of_items_with_the_error_of_prompts():
    """Against the linearised variance of a ratio of means."""
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 20, size=500)
    totals = rng.binomial(sizes, rng.beta(4, 2, size=500)).astype(float)
    interval = bootstrap_ratio(totals, sizes)
    ratio = totals.sum() / sizes.sum()
    error = (totals - ratio * sizes).std() / (np.sqrt(500) * sizes.mean())
    assert interval.estimate == pytest.approx(ratio)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * error, rel=0.08)
    independent = np.sqrt(ratio * (1 - ratio) / sizes.sum())
    assert error > 1.2 * independent  # items of a prompt are alike


def test_a_ratio_of_equal_sizes_is_the_mean_of_prompts():
    values = RNG.random(300)
    ratio, mean = bootstrap_ratio(7 * values, np.full(300, 7)), bootstrap_mean(values)
    assert ratio.estimate == pytest.approx(mean.estimate)
    assert ratio.low == pytest.approx(mean.low, abs=0.005)
    assert ratio.high == pytest.approx(mean.high, abs=0.005)


def test_a_ratio_of_one_prompt_has_no_interval_and_needs_sizes():
    interval = bootstrap_ratio([3.0], [4])
    assert interval.estimate == 0.75
    assert np.isnan([interval.low, interval.high]).all()
    with pytest.raises(InputError, match="each of the 2 totals needs a size above 0, got 2 sizes, the smallest 0"):
        bootstrap_ratio([1.0, 0.0], [2, 0])
    with pytest.raises(InputError, match="each of the 2 totals needs a size above 0, got 1 sizes"):
        bootstrap_ratio([1.0, 0.0], [2])


def curve(kls, rates, noise=0.0):
    kl = np.array(kls)[:, None] + noise * NOISE[: len(kls)]
    return Curve(kl, np.array(rates)[:, None] + noise * NOISE[: len(kls), ::-1])


def test_interpolation_is_linear_in_the_root_of_kl_from_one_half():
    flat = curve([0.25, 1.0], [0.75, 0.85])
    assert value_at_kl(flat, 0.0625).estimate == pytest.approx(0.625)
    assert value_at_kl(flat, 0.5625).estimate == pytest.approx(0.80)
    assert value_at_kl(flat, 1.0).estimate == pytest.approx(0.85)


def test_order_of_the_policies_does_not_matter():
    a, b = curve([0.25, 1.0], [0.75, 0.85], 0.5), curve([0.25, 1.0], [0.75, 0.85], 0.5)
    swapped = Curve(b.kl[::-1], b.win_rate[::-1])
    assert value_at_kl(a, 0.5) == value_at_kl(swapped, 0.5)


def test_no_extrapolation():
    interval = value_at_kl(curve([0.25, 1.0], [0.75, 0.85]), 1.5)
    assert np.isnan([interval.estimate, interval.low, interval.high]).all()


def test_interval_is_undefined_where_resamples_leave_the_range():
    noisy = curve([0.25, 1.0], [0.75, 0.85], 1.0)
    at_the_end = value_at_kl(noisy, float(noisy.kl[1].mean()) - 1e-6)
    assert np.isfinite(at_the_end.estimate)
    assert np.isnan([at_the_end.low, at_the_end.high]).all()


def test_the_error_of_the_kl_is_carried():
    """Win rates without any noise: the interval comes from the KL alone."""
    kl = np.array([0.3, 0.7])[:, None] + NOISE[:2]
    exact = Curve(kl, np.tile([[0.6], [0.9]], (1, 200)))
    interval = value_at_kl(exact, 0.5)
    slope = 0.3 / (np.sqrt(0.7) - np.sqrt(0.3)) / (2 * np.sqrt(0.5))
    assert interval.low < interval.estimate < interval.high
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * slope * 0.1 / np.sqrt(400), rel=0.35)


def test_difference_at_one_kl_is_paired_by_prompt():
    a, b = curve([0.3, 0.9], [0.7, 0.8], 0.5), curve([0.3, 0.9], [0.66, 0.76], 0.5)
    interval = difference_at_kl(a, b, 0.5)
    assert interval.estimate == pytest.approx(0.04, abs=1e-9)
    assert interval.high - interval.low < 1e-9
    unpaired = value_at_kl(a, 0.5)
    assert unpaired.high - unpaired.low > 0.005


def test_null_differences_are_rejected_at_the_nominal_rate():
    rejected = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        sides = [Curve(0.5 + 0.1 * rng.normal(size=(1, 80)), 0.7 + 0.2 * rng.normal(size=(1, 80))) for _ in range(2)]
        interval = difference_at_kl(*sides, 0.4, resamples=300)
        rejected += not interval.low <= 0 <= interval.high
    assert rejected <= 24


def test_power_by_simulation():
    estimates = RNG.normal(2.0, 1.0, size=200_000)
    assert power(2.0, 1.0) == pytest.approx(np.mean(np.abs(estimates) > 1.959964), abs=0.005)
    assert power(0.06, 0.02) == pytest.approx(0.851, abs=1e-3)


def test_options_and_shapes_out_of_range():
    with pytest.raises(InputError, match="level must lie between 0 and 1, got 95"):
        bootstrap_mean([0.1, 0.2], level=95)
    with pytest.raises(InputError, match="resamples must be >= 1, got 0"):
        bootstrap_mean([0.1, 0.2], resamples=0)
    with pytest.raises(InputError, match="method must be one of percentile, bca, got 'normal'"):
        bootstrap_mean([0.1, 0.2], method="normal")
    with pytest.raises(InputError, match="paired values need the same prompts, got 2 and 1"):
        paired_difference([0.1, 0.2], [0.1])
    with pytest.raises(InputError, match="values is empty"):
        bootstrap_mean([])
    with pytest.raises(InputError, match="curves need the same prompts, got 2 and 1"):
        difference_at_kl(Curve([[0.1, 0.2]], [[0.5, 0.6]]), Curve([[0.1]], [[0.5]]), 0.1)
    with pytest.raises(InputError, match=r"kl has shape \(1, 2\), its win rate \(1, 1\)"):
        Curve([[0.1, 0.2]], [[0.5]])
    with pytest.raises(InputError, match="kl must be a finite number > 0, got 0"):
        value_at_kl(Curve([[0.1, 0.2]], [[0.5, 0.6]]), 0)
    with pytest.raises(InputError, match="standard error must be a finite number > 0"):
        power(0.1, 0.0)


def test_agreement_counts_pairs_and_halves_ties():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 4, (2, 5, 6)).astype(float)
    counts = []
    for a, b in zip(first, second, strict=True):
        for i in range(6):
            for j in range(i):
                tied = a[i] == a[j] or b[i] == b[j]
                counts.append(0.5 if tied else float((a[i] > a[j]) == (b[i] > b[j])))
    assert pairwise_agreement(first, second) == pytest.approx(np.mean(counts))
    with pytest.raises(InputError, match="agreement needs two arrays"):
        pairwise_agreement(first, second[0])
