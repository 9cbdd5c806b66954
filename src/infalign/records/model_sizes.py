"""Sizes of transformers, and what follows from them: parameters, operations, and numbers kept in memory."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from infalign.records.block import Block, Count
from infalign.records.task import Base, FromConfig, Task


class ModelSizes(Block):
    """Sizes of a model, as its config.json has them; norms and biases (under 1 %) are left out.

    Examples
    --------
    >>> pythia = PUBLISHED["EleutherAI/pythia-1.4b"]
    >>> round(pythia.parameters / 1e9, 2), round(pythia.matrices / 1e9, 2)
    (1.41, 1.21)
    """

    hidden_size: Count
    n_layers: Count
    query_size: Count | None = Field(None, description="heads times their size; default: hidden_size")
    key_value_size: Count | None = Field(None, description="the same of keys; default: query_size")
    intermediate_size: Count
    vocabulary_size: Count
    gated: bool = Field(True, description="three matrices in the feed-forward part (Llama, Qwen), not two")
    tied: bool = Field(True, description="the output layer is the embedding")

    @property
    def queries(self) -> int:
        """Width of all queries of a layer together."""
        return self.query_size or self.hidden_size

    @property
    def keys(self) -> int:
        """Width of all keys of a layer together, and of all values."""
        return self.key_value_size or self.queries

    @property
    def matrices(self) -> int:
        """Parameters of all layers: query, key, value and output matrices, and those of the feed-forward part."""
        attention = 2 * self.hidden_size * (self.queries + self.keys)
        feed_forward = (3 if self.gated else 2) * self.hidden_size * self.intermediate_size
        return self.n_layers * (attention + feed_forward)

    @property
    def embedding(self) -> int:
        """Parameters of the embedding; an output layer has as many."""
        return self.vocabulary_size * self.hidden_size

    @property
    def parameters(self) -> int:
        """Parameters of the language model: layers, embedding and an output layer that is not tied."""
        return self.matrices + (1 if self.tied else 2) * self.embedding

    @property
    def cached(self) -> int:
        """Keys and values that a token leaves in the cache."""
        return 2 * self.n_layers * self.keys

    @property
    def activations(self) -> int:
        """Numbers that a token leaves in the layers for the gradient: what norms, matrices and products read.

        Korthikanti et al. 2022, Reducing activation recomputation, eq. 1, without dropout and attention scores;
        root mean square norms (of gated models) keep what they have scaled too.
        """
        norms = (6 if self.gated else 4) * self.hidden_size
        feed_forward = (4 if self.gated else 2) * self.intermediate_size
        return self.n_layers * (norms + 2 * (self.queries + self.keys) + feed_forward)

    def operations(self, tokens: float, context: float, head: float = 0.0) -> float:
        """Count the floating-point operations of a forward pass.

        Two for each token and parameter of a matrix, and 4 · layers · query width · context a token for attention
        (Kaplan et al. 2020, Scaling laws, table 1; Chowdhery et al. 2022, PaLM, appendix B). Each token attends to
        `context` tokens; a causal mask saves nothing. The output layer gives a distribution for `head` tokens.
        """
        each = 2 * self.matrices + 4 * self.n_layers * self.queries * context
        return tokens * each + head * 2 * self.embedding


def _sizes(hidden: int, layers: int, feed_forward: int, vocabulary: int, **other: int) -> ModelSizes:
    sizes = {"hidden_size": hidden, "n_layers": layers, "intermediate_size": feed_forward}
    return ModelSizes.model_validate({**sizes, "vocabulary_size": vocabulary, **other})


_PYTHIA = {"gated": False, "tied": False}
_QWEN3 = {"query_size": 2048, "key_value_size": 1024}
# From the models' config.json on the hub.
PUBLISHED = {
    "EleutherAI/pythia-410m": _sizes(1024, 24, 4096, 50304, **_PYTHIA),
    "EleutherAI/pythia-1b": _sizes(2048, 16, 8192, 50304, **_PYTHIA),
    "EleutherAI/pythia-1.4b": _sizes(2048, 24, 8192, 50304, **_PYTHIA),
    "EleutherAI/pythia-2.8b": _sizes(2560, 32, 10240, 50304, **_PYTHIA),
    "EleutherAI/pythia-6.9b": _sizes(4096, 32, 16384, 50432, **_PYTHIA),
    "Qwen/Qwen2.5-1.5B-Instruct": _sizes(1536, 28, 8960, 151936, key_value_size=256),
    "Qwen/Qwen3-0.6B-Base": _sizes(1024, 28, 3072, 151936, **_QWEN3),
    "Qwen/Qwen3-1.7B-Base": _sizes(2048, 28, 6144, 151936, **_QWEN3),
    "Qwen/Qwen3-8B": _sizes(4096, 36, 12288, 151936, key_value_size=1024, tied=False),
    "openai-community/gpt2": _sizes(768, 12, 3072, 50257, gated=False),
    "distilbert/distilbert-base-uncased": _sizes(768, 6, 3072, 30522, gated=False),
}
_FINETUNED = {
    "cleanrl/EleutherAI_pythia-2.8b-deduped__sft__tldr": "EleutherAI/pythia-2.8b",
    "cleanrl/EleutherAI_pythia-2.8b-deduped__reward__tldr": "EleutherAI/pythia-2.8b",
    "cleanrl/EleutherAI_pythia-6.9b-deduped__reward__tldr": "EleutherAI/pythia-6.9b",
    "Skywork/Skywork-Reward-V2-Qwen3-0.6B": "Qwen/Qwen3-0.6B-Base",
    "Skywork/Skywork-Reward-V2-Qwen3-8B": "Qwen/Qwen3-8B",
    "lvwerra/gpt2-imdb": "openai-community/gpt2",
    "lvwerra/distilbert-imdb": "distilbert/distilbert-base-uncased",
}
PUBLISHED |= {name: PUBLISHED[base] for name, base in _FINETUNED.items()}


def base_sizes(task: Task, base: Base, known: Mapping[str, ModelSizes] = PUBLISHED) -> ModelSizes | None:
    """Look up the sizes of the model that a `base` block names, by hub name or path; None where it is not known."""
    if base.reference:
        return base_sizes(task, task.reference.base, known)
    if base.from_config is None:
        return known.get(base.hub or base.path or "")
    return shape_sizes(base.from_config, task.vocabulary_size or 1)


def shape_sizes(shape: FromConfig, vocabulary_size: int) -> ModelSizes:
    """Return the sizes of a model that is made from a `from_config` block.

    Examples
    --------
    >>> shape = FromConfig(hidden_size=80, n_layers=3, n_heads=4, intermediate_size=160, context=80)
    >>> shape_sizes(shape, 512).parameters  # embedding 40,960, layers 3 × 64,000
    232960
    """
    sizes = shape.model_dump(include={"hidden_size", "n_layers", "intermediate_size"})
    return ModelSizes(**sizes, vocabulary_size=vocabulary_size)
