"""A policy whose every response can be listed, and what its rewards are."""

import polars as pl
import pytest
from toy import Toy, make_toy, score_toy

from infalign.alignment.objectives import build_objective


@pytest.fixture
def toy() -> Toy:
    return make_toy()


@pytest.fixture
def toy_scores(toy) -> pl.DataFrame:
    return score_toy(toy)


@pytest.fixture
def toy_objective(toy_scores):
    return build_objective(toy_scores, "raw", kl=0.4)
