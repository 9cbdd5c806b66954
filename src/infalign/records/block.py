"""What every block of the configuration is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Block(BaseModel):
    """A part of the configuration: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Study(Block):
    """An optional block: nothing is listed twice."""

    @field_validator("*")
    @classmethod
    def _no_repeats(cls, values):
        return distinct(values) if isinstance(values, list) else values


def distinct(values: list) -> list:
    """Refuse a list that names something twice.

    Examples
    --------
    >>> distinct([2, 4])
    [2, 4]
    """
    repeated = [value for value in values if values.count(value) > 1]
    if repeated:
        raise ValueError(f"{repeated[0]} is listed twice; remove one")
    return values
