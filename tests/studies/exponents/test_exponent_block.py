"""What the block `exponents` refuses."""

from pathlib import Path

import pytest
import yaml

from infalign.catalogue import parse_config
from infalign.errors import InputError

SMOKE = Path(__file__).parents[3] / "config" / "smoke.yaml"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"exponents": {"n": [8]}}, "exponents.n: 8 is not one of evaluation.n"),
        ({"exponents": {"n": [2], "t": [5, 5]}}, "exponents.t: 5.0 is listed twice"),
        ({"exponents": {"n": [2], "t": [101]}}, "exponents.t.0: Input should be less than or equal to 100"),
        (
            {
                "exponents": {"n": [2]},
                "goals": {
                    "helpful": {"procedure": "bop(2.5)", "transform": "exp(10)"},
                    "harmless": {"procedure": "won(4)", "transform": "exp(-10)"},
                },
            },
            "exponents: the goal of task helpful must be bon(n) or won(n), got bop(2.5)",
        ),
    ],
)
def test_exponents_that_cannot_be(changes, message):
    with pytest.raises(InputError) as caught:
        parse_config(yaml.safe_load(SMOKE.read_text()) | changes)
    assert message in str(caught.value)
