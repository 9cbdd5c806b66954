"""Settings of the ablation of calibration quality, a block of the configuration."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class Calibration(BaseModel):
    """Calibration from few rollouts and with few anchors (InfAlign, appendix on anchor points)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rollouts: Annotated[list[Count], Field(min_length=1)] = Field(
        [1, 3, 5, 7, 100], description="n, rollouts whose median calibrates: anchors(1)"
    )
    anchors: Annotated[list[Count], Field(min_length=1)] = Field(
        [1, 2, 5, 10], description="p of anchors(p), from all rollouts"
    )
    n_measured: Annotated[int, Field(ge=2)] = Field(
        100, description="further responses of the reference a prompt, on which all is measured"
    )
    draws: Count = Field(
        4, description="disjoint sets of n rollouts that are averaged, as far as the rollouts suffice"
    )
    kl: Annotated[list[Positive], Field(min_length=1)] = Field(
        [0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0], description="budgets of the frontiers, in nats"
    )

    @field_validator("rollouts", "anchors", "kl")
    @classmethod
    def _no_repeats(cls, values: list) -> list:
        repeated = [value for value in values if values.count(value) > 1]
        if repeated:
            raise ValueError(f"{repeated[0]} is listed twice; remove one")
        return values
