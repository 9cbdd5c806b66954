"""Estimates of the KL compared on responses of a known model."""

import numpy as np
import polars as pl
import pytest

from infalign.errors import InputError
from infalign.mathematics.statistics import Bootstrap
from infalign.studies.kl_estimators.tables import (
    ESTIMATOR_SCHEMA,
    estimator_rows,
)

FAST = Bootstrap(resamples=200)
P, Q = (
    np.array([0.5, 0.3, 0.2]),
    np.array([0.2, 0.2, 0.6]),
)  # next token of policy and reference, at each step
STEP_KL = float(P @ np.log(P / Q))


def sampled(n_prompts=40, n_samples=50, most_tokens=4):
    """Responses of i.i.d. tokens; a response ends after 1 to 4 tokens, decided by chance, so its KL varies."""
    rng = np.random.default_rng(8)
    rows = []
    for prompt in range(n_prompts):
        for sample in range(n_samples):
            tokens = rng.choice(3, size=rng.integers(1, most_tokens + 1), p=P)
            log_p, log_q = np.log(P[tokens]).sum(), np.log(Q[tokens]).sum()
            rows.append((f"p{prompt:02d}", sample, log_p, log_q, len(tokens) * STEP_KL))
    return pl.DataFrame(rows, schema=["prompt_id", "sample_id", "log_prob", "reference_log_prob", "kl"], orient="row")


@pytest.fixture(scope="module")
def rows():
    return {row["estimator"]: row for row in estimator_rows("t", "ppo", sampled(), FAST)}


def test_all_means_are_the_known_kl(rows):
    exact = 2.5 * STEP_KL  # 1 to 4 tokens, equally likely
    assert list(rows) == ["full_vocabulary", "k1", "k3"]
    for row in rows.values():
        error = np.sqrt(row["variance"] / 2000)
        assert abs(row["kl"] - exact) < 4.5 * error
        assert row["kl_low"] < row["kl"] < row["kl_high"]
        assert (row["n_prompts"], row["n_samples"]) == (40, 50)


def test_variances_are_those_of_the_model(rows):
    """full: var(T) k^2; k1: the same and E[T] var(log p/q); T uniform on 1..4."""
    full, token = 1.25 * STEP_KL**2, float(P @ (np.log(P / Q) - STEP_KL) ** 2)
    assert rows["full_vocabulary"]["variance"] == pytest.approx(full, rel=0.1)
    assert rows["k1"]["variance"] == pytest.approx(full + 2.5 * token, rel=0.15)
    assert rows["k1"]["variance_ratio"] == pytest.approx(1 + 2.5 * token / full, rel=0.15)
    assert rows["k1"]["ratio_low"] < rows["k1"]["variance_ratio"] < rows["k1"]["ratio_high"]
    assert rows["full_vocabulary"]["variance_ratio"] == 1.0 and rows["full_vocabulary"]["difference"] == 0.0
    assert rows["k3"]["difference"] == pytest.approx(rows["k3"]["kl"] - rows["full_vocabulary"]["kl"])


def test_the_reference_itself_has_no_ratio_and_order_does_not_matter():
    own = sampled(4, 3).with_columns(reference_log_prob="log_prob", kl=pl.lit(0.0))
    table = pl.DataFrame(estimator_rows("t", "ref", own, FAST), schema=ESTIMATOR_SCHEMA)
    assert table["kl"].to_list() == [0.0] * 3 and table["variance_ratio"].to_list() == [None] * 3
    frame = sampled(4, 3)
    assert estimator_rows("t", "a", frame.reverse(), FAST) == estimator_rows("t", "a", frame, FAST)


def test_one_response_has_no_variance():
    with pytest.raises(InputError, match="2 or more, got from 1 to 1"):
        estimator_rows("t", "a", sampled(3, 1), FAST)
    with pytest.raises(InputError, match="same number of responses"):
        estimator_rows("t", "a", sampled(3, 3).slice(1), FAST)
