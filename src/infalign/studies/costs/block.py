"""The block `costs`: the device, and sizes that only models and data tell; no result depends on it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from infalign.records.block import Block, Count, Positive, unknown_task
from infalign.records.model_sizes import ModelSizes

Share = Annotated[float, Field(gt=0, le=1)]


class Throughput(Block):
    """Floating-point operations that a device does, and the share of them that a run reaches."""

    float32: Positive = Field(description="dense matrix products at best, 10^12 operations a second")
    bfloat16: Positive = Field(description="the same in bfloat16")
    memory: Positive = Field(description="of the device, GB")
    share: tuple[Share, Share] = Field((0.1, 0.5), description="of these that is reached, the two ends of a band")


DEVICES = {  # sources: docs/costs.md
    "a100": Throughput(float32=19.5, bfloat16=312, memory=80),
    "h100": Throughput(float32=67, bfloat16=989, memory=80),
    "h200": Throughput(float32=67, bfloat16=989, memory=141),
    "cpu_core": Throughput(float32=0.098, bfloat16=0.04, memory=4),
}


class TaskSizes(Block):
    """What only a task's data tell; by default what the corpus says, and of texts the longest."""

    n_demonstrations: Count | None = None
    n_pairs: Count | None = Field(None, description="of the reward model; the judge has as many")
    prompt_tokens: Positive | None = Field(None, description="mean of a prompt")
    response_tokens: Positive | None = Field(None, description="mean of a response")


class Costs(Block):
    """What `snakemake costs` reckons with (docs/costs.md)."""

    device: Literal["a100", "h100", "h200", "cpu_core"] | Throughput = "h100"
    models: dict[str, ModelSizes] = Field({}, description="sizes of models that are not known")
    tasks: dict[str, TaskSizes] = Field({}, description="by the names of the tasks")

    @property
    def throughput(self) -> Throughput:
        """Numbers of the device."""
        return DEVICES[self.device] if isinstance(self.device, str) else self.device


def costs_problems(costs: Costs, tasks: Iterable[str]) -> list[str]:
    """List tasks of the block that the run has not."""
    return [f"costs.tasks: {unknown_task(name, tasks)}" for name in costs.tasks if name not in tasks]
