"""Tables of poisoned rewards: shares counted by hand, and intervals over prompts that hold several pairs."""

import numpy as np
import polars as pl
import pytest

from infalign.mathematics.statistics import Bootstrap
from infalign.studies.poisoning.tables import (
    OUTCOMES_SCHEMA,
    POISONING_SCHEMA,
    PROMPT_POISONING_SCHEMA,
    accuracy_table,
    prompt_table,
)

FAST = Bootstrap(resamples=200)


def outcomes(right, prompts, **facts):
    values = {
        "task": "helpful",
        "rate": 0.1,
        "seed": 0,
        "model": "bradley_terry",
        "test_set": "clean",
        **facts,
    }
    return pl.DataFrame({**values, "prompt_id": prompts, "right": right}, schema=OUTCOMES_SCHEMA)


def test_prompts_weigh_as_many_pairs_as_they_have():
    rows = pl.concat(
        [
            outcomes([1.0, 0.0, 0.5, 1.0], ["b", "a", "b", "b"]),
            outcomes([0.0, 0.0, 0.0, 1.0], ["b", "a", "b", "b"], test_set="poisoned"),
        ]
    )
    by_prompt = prompt_table(rows)
    assert dict(by_prompt.schema) == PROMPT_POISONING_SCHEMA
    assert by_prompt.select("test_set", "prompt_id", "n_pairs").rows() == [
        ("clean", "a", 1), ("clean", "b", 3), ("poisoned", "a", 1), ("poisoned", "b", 3),
    ]  # fmt: skip
    np.testing.assert_allclose(by_prompt["accuracy"], [0.0, 2.5 / 3, 0.0, 1 / 3])
    table = accuracy_table(by_prompt, FAST)
    assert dict(table.schema) == POISONING_SCHEMA
    assert table.select("test_set", "n_pairs", "accuracy").rows() == [
        ("clean", 4, 0.625),
        ("poisoned", 4, 0.25),
    ]


def test_intervals_are_as_wide_as_prompts_make_them():
    """Pairs of a prompt that stand and fall together are worth one pair."""
    rng = np.random.default_rng(0)
    fates = (rng.random(200) < 0.7).astype(float)
    prompts = [f"p{index:03d}" for index in range(200)]
    alone = accuracy_table(prompt_table(outcomes(fates, prompts)), Bootstrap()).row(0, named=True)
    rows = outcomes(np.repeat(fates, 5), np.repeat(prompts, 5))
    together = accuracy_table(prompt_table(rows), Bootstrap()).row(0, named=True)
    error = np.sqrt(fates.mean() * (1 - fates.mean()) / 200)
    for found in (alone, together):
        assert found["accuracy"] == pytest.approx(fates.mean())
        assert found["ci_high"] - found["ci_low"] == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert (alone["n_pairs"], together["n_pairs"]) == (200, 1000)


def test_a_single_prompt_has_no_interval():
    table = accuracy_table(prompt_table(outcomes([1.0, 0.0], ["a", "a"])), FAST)
    assert table.select("accuracy", "ci_low", "ci_high").row(0) == (0.5, None, None)
