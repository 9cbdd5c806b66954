"""The tables of a small known world as fixtures."""

import polars as pl
import pytest

from infalign.mathematics.statistics import Bootstrap
from infalign.presentation.pareto import compare_methods
from presentation import result_tables

collect_ignore_glob = ["conftest.py", "*/conftest.py"]  # of one name, so doctests cannot import them all
GOALS = {task: goal for task, (_, goal) in result_tables.TASKS.items()}


@pytest.fixture(scope="session")
def ideal():
    return result_tables.build_ideal()


@pytest.fixture(scope="session")
def offline():
    return result_tables.build_offline()


@pytest.fixture(scope="session")
def prompt_metrics():
    return result_tables.build_prompt_metrics(result_tables.GAINS)


@pytest.fixture(scope="session")
def metrics(prompt_metrics):
    return result_tables.build_metrics(prompt_metrics)


@pytest.fixture(scope="session")
def scores():
    return result_tables.build_scores()


@pytest.fixture(scope="session")
def best_of_n():
    return result_tables.build_best_of_n()


@pytest.fixture(scope="session")
def further():
    """Metrics and metrics by prompt of every method: those of PPO and the further ones."""
    return result_tables.build_methods()


@pytest.fixture(scope="session")
def all_metrics(metrics, further):
    return pl.concat([metrics, further[0]])


@pytest.fixture(scope="session")
def all_prompt_metrics(prompt_metrics, further):
    return pl.concat([prompt_metrics, further[1]])


@pytest.fixture(scope="session")
def methods(all_metrics, all_prompt_metrics):
    return compare_methods(all_metrics, all_prompt_metrics, GOALS, bootstrap=Bootstrap(resamples=200))
