"""Scores as arrays: prompts sorted, responses in the order they were drawn, as many for each."""

import polars as pl
import pytest

from infalign.errors import InputError
from infalign.records.scores import scores_by_prompt

FRAME = pl.DataFrame(
    {
        "prompt_id": ["b", "a", "b", "a"],
        "sample_id": [1, 1, 0, 0],
        "reward": [4.0, 2.0, 3.0, 1.0],
        "judge": [0.4, 0.2, 0.3, 0.1],
        "gold": pl.Series([None] * 4, dtype=pl.Float64),
    }
)


def test_responses_are_taken_in_the_order_they_were_drawn():
    arrays = scores_by_prompt(FRAME)
    assert arrays.prompt_ids == ["a", "b"]
    assert {name: values.tolist() for name, values in arrays.columns.items()} == {
        "reward": [[1.0, 2.0], [3.0, 4.0]],
        "judge": [[0.1, 0.2], [0.3, 0.4]],
    }


def test_every_prompt_has_as_many_responses():
    with pytest.raises(InputError, match="same number of responses, got from 1 to 2; keep as many"):
        scores_by_prompt(FRAME.head(3))
