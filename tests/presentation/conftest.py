"""The tables of a small known world as fixtures."""

import pytest
import result_tables


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
