"""Optional blocks of the configuration that study a run's own policies: stronger judges, other exponents."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Positive = Annotated[float, Field(gt=0)]
Exponent = Annotated[float, Field(ge=-100, le=100)]


class Study(BaseModel):
    """A block: unknown keys are errors, nothing is listed twice."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*")
    @classmethod
    def _no_repeats(cls, values):
        if isinstance(values, list):
            repeated = [value for value in values if values.count(value) > 1]
            if repeated:
                raise ValueError(f"{repeated[0]} is listed twice; remove one")
        return values


class JudgeStrength(Study):
    """Judges of several sizes, and one that learnt from the reward model's own pairs."""

    tasks: Annotated[list[str], Field(min_length=1)]
    sizes: Annotated[list[Positive], Field(min_length=1)] = Field(
        [0.5, 1.0, 2.0, 4.0],
        description="parameters of the judges, as multiples of the reward model's; the width is what changes",
    )
    leak: bool = Field(
        True,
        description="one more judge of size 1, trained on the reward model's pairs instead of the judge's",
    )

    @model_validator(mode="after")
    def _leak_has_its_equal(self) -> JudgeStrength:
        if self.leak and 1.0 not in self.sizes:
            raise ValueError(
                "leak is measured against the judge of size 1; add 1 to sizes, or give leak: false"
            )
        return self


class Exponents(Study):
    """Exponential transforms of many exponents, for the largest and smallest N."""

    n: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] = Field(
        [2, 4, 32], description="N of best-of-N or worst-of-N, as each task's goal has it"
    )
    t: Annotated[list[Exponent], Field(min_length=1)] = Field(
        [-40, -20, -10, -5, -2, 0, 2, 5, 10, 20, 40],
        description="exponents of the offline frontier; 0 is the identity, which they tend to",
    )
    kl: Positive = Field(0.5, description="nats, at which the transforms are compared")
