"""Settings of the alignment methods; the configuration and the trainers share these models."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]


class PPOSettings(BaseModel):
    """Proximal policy optimisation with the KL to the reference inside the reward.

    Defaults are those of variational best-of-N (Amini et al. 2025, appendix D), the paper of this family
    that prints its table; where it is silent the field says whose default stands there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    updates: Count = Field(312, description="batches sampled; 10,000 episodes of 32 (vBoN, appendix D)")
    prompts_per_update: Count = Field(32, description="prompts in a batch (vBoN, appendix D: batch size 32)")
    samples_per_prompt: Count = Field(1, description="responses drawn to each prompt of a batch (vBoN: 1)")
    epochs: Count = Field(4, description="passes over each batch (vBoN, appendix D: 4)")
    minibatches: Count = Field(1, description="optimiser steps a pass (the paper names none: 1)")
    learning_rate: Positive = Field(3e-6, description="at the first update (vBoN, appendix D)")
    schedule: Literal["linear", "constant"] = Field(
        "linear", description="linear: falls to 0 over the updates (vBoN, appendix D)"
    )
    adam_epsilon: Positive = Field(1e-5, description="vBoN, appendix D")
    adam_betas: tuple[Decay, Decay] = Field((0.9, 0.999), description="torch's default")
    weight_decay: NotNegative = Field(0.0, description="of AdamW; TRL's default")
    max_gradient_norm: Positive = Field(1.0, description="the gradient is scaled down to it; TRL's default")
    clip: Positive = Field(0.2, description="how far the probability ratio may leave 1 (vBoN, appendix D)")
    value_clip: Positive | None = Field(
        0.2, description="how far a value may move from its old one; null: unclipped (vBoN, appendix D)"
    )
    value_coefficient: NotNegative = Field(0.2, description="weight of the value loss (vBoN, appendix D)")
    discount: Fraction = Field(1.0, description="gamma of the returns (vBoN, appendix D)")
    gae_lambda: Fraction = Field(
        0.95, description="lambda of generalised advantage estimation (vBoN, appendix D)"
    )
    kl_penalty: Literal["log_ratio", "full_vocabulary"] = Field(
        "log_ratio",
        description="KL in the reward: log-ratio of the sampled token (Ziegler et al. 2019), or the exact KL "
        "of each position, its gradient taken directly (Rao-Blackwellised: same mean, lower variance)",
    )
    group_baseline: bool = Field(
        False,
        description="subtract the mean return of the prompt's other samples before the value head's part "
        "(RLOO: Ahmadian et al. 2024); needs samples_per_prompt >= 2",
    )
    weight_average: Fraction = Field(
        0.0,
        description="the policy saved is the mean of the weights after this last fraction of the updates "
        "(Polyak and Juditsky 1992); 0: the weights after the last update",
    )
    chunk_size: Count = Field(64, description="responses in one forward pass; changes speed and memory only")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the matrix products; bfloat16 is for GPUs"
    )
    checkpoint_every: Count = Field(25, description="updates between checkpoints")

    @model_validator(mode="after")
    def _groups_have_others(self) -> PPOSettings:
        if self.group_baseline and self.samples_per_prompt < 2:
            raise ValueError(
                f"group_baseline needs samples_per_prompt >= 2, got {self.samples_per_prompt}; "
                "raise it or leave group_baseline out"
            )
        return self

    @model_validator(mode="after")
    def _minibatches_are_filled(self) -> PPOSettings:
        size = self.prompts_per_update * self.samples_per_prompt
        if self.minibatches > size:
            raise ValueError(
                f"minibatches must be <= prompts_per_update * samples_per_prompt = {size}, "
                f"got {self.minibatches}"
            )
        return self
