"""The block `costs`: what a run's price is estimated from; no result depends on it."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from infalign.errors import InputError
from infalign.mathematics.costs import Device, Shape
from infalign.records.block import parse_block
from infalign.records.config import Config

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


class CostBlock(BaseModel):
    """A part of the configuration: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DeviceSpeed(CostBlock):
    """What a device gives at best, and the share of it that is reached."""

    float32: Positive = Field(description="dense matrix products in float32, 10^12 operations a second")
    bfloat16: Positive = Field(description="the same in bfloat16")
    bandwidth: Positive = Field(description="of the memory, GB a second")
    memory: Positive = Field(description="GB")
    utilisation: Annotated[float, Field(gt=0, le=1)] = Field(
        0.4, description="share of arithmetic and bandwidth that is reached"
    )
    layer_seconds: NotNegative = Field(
        5e-4, description="the least that a layer takes in a forward pass: the launching of its kernels"
    )
    job_seconds: NotNegative = Field(30.0, description="of every job: imports, loading and writing models")

    def device(self) -> Device:
        """As the arithmetic takes it."""
        return Device(**self.model_dump())


# Vendors' data sheets, dense; float32 without TF32, which torch does not use unless told to. The core is one
# of an AMD EPYC server: products of 1024 x 1024 matrices and copies of large arrays, measured with numpy.
DEVICES = {
    "a100": DeviceSpeed(float32=19.5, bfloat16=312, bandwidth=2039, memory=80),
    "h100": DeviceSpeed(float32=67, bfloat16=989, bandwidth=3350, memory=80),
    "h200": DeviceSpeed(float32=67, bfloat16=989, bandwidth=4800, memory=141),
    "cpu_core": DeviceSpeed(
        float32=0.098, bfloat16=0.04, bandwidth=25, memory=4, layer_seconds=2e-4, job_seconds=6
    ),
}


class ModelSizes(CostBlock):
    """Sizes of a published model, as its config.json has them."""

    hidden_size: Count
    n_layers: Count
    query_size: Count | None = Field(None, description="heads times their size; default: hidden_size")
    key_value_size: Count | None = Field(None, description="the same of keys; default: query_size")
    intermediate_size: Count
    vocabulary_size: Count
    gated: bool = Field(True, description="three matrices in the feed-forward part (Llama, Qwen), not two")
    tied: bool = Field(True, description="the output layer is the embedding")

    def shape(self) -> Shape:
        """As the arithmetic takes it."""
        query = self.query_size or self.hidden_size
        sizes = self.model_dump() | {"query_size": query, "key_value_size": self.key_value_size or query}
        return Shape(**sizes)


def _pythia(hidden: int, layers: int, vocabulary: int = 50304) -> Shape:
    return Shape(hidden, layers, hidden, hidden, 4 * hidden, vocabulary, gated=False, tied=False)


# From the models' config.json; tests hold the numbers of parameters against those published.
PUBLISHED = {
    "EleutherAI/pythia-410m": _pythia(1024, 24),
    "EleutherAI/pythia-1b": _pythia(2048, 16),
    "EleutherAI/pythia-1.4b": _pythia(2048, 24),
    "EleutherAI/pythia-2.8b": _pythia(2560, 32),
    "EleutherAI/pythia-6.9b": _pythia(4096, 32, 50432),
    "Qwen/Qwen2.5-1.5B-Instruct": Shape(1536, 28, 1536, 256, 8960, 151936),
    "Qwen/Qwen3-0.6B-Base": Shape(1024, 28, 2048, 1024, 3072, 151936),
    "Qwen/Qwen3-1.7B-Base": Shape(2048, 28, 2048, 1024, 6144, 151936),
    "Qwen/Qwen3-8B": Shape(4096, 36, 4096, 1024, 12288, 151936, tied=False),
    "openai-community/gpt2": Shape(768, 12, 768, 768, 3072, 50257, gated=False),
    "distilbert/distilbert-base-uncased": Shape(768, 6, 768, 768, 3072, 30522, gated=False),
}
FINETUNED = {  # of these sizes
    "lvwerra/gpt2-imdb": "openai-community/gpt2",
    "lvwerra/distilbert-imdb": "distilbert/distilbert-base-uncased",
    "cleanrl/EleutherAI_pythia-2.8b-deduped__sft__tldr": "EleutherAI/pythia-2.8b",
    "cleanrl/EleutherAI_pythia-2.8b-deduped__reward__tldr": "EleutherAI/pythia-2.8b",
    "cleanrl/EleutherAI_pythia-6.9b-deduped__reward__tldr": "EleutherAI/pythia-6.9b",
    "Skywork/Skywork-Reward-V2-Qwen3-0.6B": "Qwen/Qwen3-0.6B-Base",
    "Skywork/Skywork-Reward-V2-Qwen3-8B": "Qwen/Qwen3-8B",
}


class TaskSizes(CostBlock):
    """What of a task is known from its data only."""

    n_demonstrations: Count | None = Field(None, description="default: the corpus', where it says so")
    n_pairs: Count | None = Field(
        None, description="training pairs of the reward model, and as many of the judge; default: the corpus'"
    )
    prompt_tokens: Positive | None = Field(None, description="mean of a prompt; default: the most there are")
    response_tokens: Positive | None = Field(None, description="mean of a response; default: max_new_tokens")


class Costs(CostBlock):
    """What `snakemake costs` prices a run by."""

    device: Literal["a100", "h100", "h200", "cpu_core"] | DeviceSpeed = Field(
        "h100", description="one that is known, or its numbers"
    )
    models: dict[str, ModelSizes] = Field(
        {}, description="sizes of models that are not known, by hub or path"
    )
    tasks: dict[str, TaskSizes] = {}

    def speed(self) -> DeviceSpeed:
        """The device's numbers."""
        return DEVICES[self.device] if isinstance(self.device, str) else self.device

    def shape(self, name: str) -> Shape:
        """Sizes of a published or local model.

        Raises
        ------
        InputError
            They are not known.

        Examples
        --------
        >>> Costs().shape("lvwerra/gpt2-imdb").n_layers
        12
        """
        if name in self.models:
            return self.models[name].shape()
        known = PUBLISHED.get(FINETUNED.get(name, name))
        if known is None:
            raise InputError(
                f"costs: the sizes of model {name} are not known; give them as costs.models.{name}: "
                "{hidden_size: …, n_layers: …, intermediate_size: …, vocabulary_size: …} (docs/costs.md)"
            )
        return known


def parse_costs(config: Config) -> Costs:
    """Check a configuration's block `costs`.

    Raises
    ------
    InputError
        All errors at once, or a task that there is not.
    """
    costs = parse_block(Costs, json.dumps(config.costs))
    unknown = sorted(set(costs.tasks) - set(config.tasks))
    if unknown:
        raise InputError(f"costs.tasks: unknown task {unknown[0]!r}; the tasks are {', '.join(config.tasks)}")
    return costs
