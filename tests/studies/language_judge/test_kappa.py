"""Cohen's kappa against numbers worked out by hand and against worlds whose kappa is known."""

import numpy as np
import pytest

from infalign.errors import InputError
from infalign.studies.language_judge.mathematics import bootstrap_kappa, cohen_kappa


def test_kappa_of_known_tables():
    assert cohen_kappa([[45, 15], [25, 15]]) == pytest.approx(0.1304348, abs=1e-7)  # (0.6 - 0.54)/(1 - 0.54)
    assert cohen_kappa(np.eye(3)) == pytest.approx(1.0)
    assert cohen_kappa([[0, 1], [1, 0]]) == pytest.approx(-1.0)
    assert cohen_kappa(np.outer([0.2, 0.3, 0.5], [0.1, 0.6, 0.3])) == pytest.approx(0.0, abs=1e-12)


def test_kappa_is_undefined_where_chance_is_certain():
    assert np.isnan(cohen_kappa([[4, 0], [0, 0]])) and np.isnan(cohen_kappa(np.zeros((2, 2))))
    assert cohen_kappa([[0, 4], [0, 0]]) == pytest.approx(0.0)  # each constant, but not the same verdict


def test_kappa_does_not_depend_on_who_is_first_nor_on_the_verdicts_order():
    table = np.array([[5, 1, 2], [0, 7, 3], [4, 1, 1]])
    order = [2, 0, 1]
    assert cohen_kappa(table.T) == pytest.approx(cohen_kappa(table))
    assert cohen_kappa(table[order][:, order]) == pytest.approx(cohen_kappa(table))


def world(rng, prompts, pairs, agree):
    """Two judges of uniform verdicts, the second copying the first with probability `agree`: kappa is `agree`."""
    first = rng.integers(3, size=(prompts, pairs))
    second = np.where(rng.random((prompts, pairs)) < agree, first, rng.integers(3, size=(prompts, pairs)))
    tables = np.zeros((prompts, 3, 3))
    np.add.at(tables, (np.arange(prompts)[:, None], first, second), 1)
    return tables


def test_estimate_and_interval_find_a_known_kappa():
    rng = np.random.default_rng(0)
    runs = [bootstrap_kappa(world(rng, 60, 4, 0.4), resamples=200, seed=seed) for seed in range(200)]
    estimates = np.array([run.estimate for run in runs])
    assert estimates.mean() == pytest.approx(0.4, abs=4 * estimates.std() / np.sqrt(len(runs)) + 0.005)
    covered = np.mean([run.low <= 0.4 <= run.high for run in runs])
    assert 0.88 <= covered <= 0.99  # 0.95 less what a bootstrap of 60 prompts may lack, three standard errors
    widths = np.mean([run.high - run.low for run in runs])
    assert widths == pytest.approx(2 * 1.96 * estimates.std(), rel=0.2)


def test_verdicts_on_a_prompt_that_stand_and_fall_together_are_worth_one():
    alone = world(np.random.default_rng(1), 100, 1, 0.5)
    together = bootstrap_kappa(5 * alone)
    expected = bootstrap_kappa(alone)
    for name in ("estimate", "low", "high"):
        assert getattr(together, name) == pytest.approx(getattr(expected, name))


def test_one_prompt_has_no_interval_and_bad_tables_are_refused():
    found = bootstrap_kappa([np.eye(3)])
    assert found.estimate == pytest.approx(1.0) and np.isnan([found.low, found.high]).all()
    with pytest.raises(InputError, match="square tables of verdicts, got shape"):
        cohen_kappa(np.ones((2, 3)))
    with pytest.raises(InputError, match="negative or not finite"):
        cohen_kappa([[1, -1], [0, 1]])
    with pytest.raises(InputError, match="is empty"):
        bootstrap_kappa(np.zeros((0, 3, 3)))
