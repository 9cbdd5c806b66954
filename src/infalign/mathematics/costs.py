"""What a transformer's work costs on a device: floating-point operations, seconds and bytes, by arithmetic.

Norms and biases are left out of all counts; they are less than a thousandth of a model's parameters. A
response is read or written at its mean length where time is asked for, at its longest where memory is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Precision = Literal["float32", "bfloat16"]
WEIGHT_BYTES = 4  # weights, gradients and Adam's two moments are float32 throughout
TRAINED_BYTES = 4 * WEIGHT_BYTES  # weight, gradient, two moments
AUTOCAST_BYTES = 2  # the bfloat16 copy of each weight that torch's autocast keeps
NUMBER_BYTES = {"float32": 4, "bfloat16": 2}
READING, TRAINING_ADAPTERS, TRAINING = 1, 2, 3  # work, in forward passes
CACHE_TRAFFIC = 3  # a step reads the old cache, writes the longer one and reads it again
LOGIT_BYTES = (
    24  # of a token's row over the vocabulary: six float32 copies (logits, softmax, products, gradients)
)
DRAW_BYTES = 20  # the same where a token is drawn: logits, and two float64 copies


@dataclass(frozen=True)
class Shape:
    """A transformer's sizes.

    Attributes
    ----------
    query_size, key_value_size : heads times their size, of the queries and of the keys (equal without
        grouped-query attention).
    gated : three matrices in the feed-forward part instead of two.
    tied : the output layer is the embedding.

    Examples
    --------
    >>> pythia = Shape(2048, 24, 2048, 2048, 8192, 50304, gated=False, tied=False)
    >>> round(pythia.parameters / 1e9, 3), pythia.cache_numbers
    (1.414, 98304)
    """

    hidden_size: int
    n_layers: int
    query_size: int
    key_value_size: int
    intermediate_size: int
    vocabulary_size: int
    gated: bool = True
    tied: bool = True

    @property
    def body(self) -> int:
        """Parameters of the layers' matrices."""
        attention = 2 * self.hidden_size * (self.query_size + self.key_value_size)
        feed_forward = (3 if self.gated else 2) * self.hidden_size * self.intermediate_size
        return self.n_layers * (attention + feed_forward)

    @property
    def head(self) -> int:
        """Parameters of the output layer."""
        return self.vocabulary_size * self.hidden_size

    @property
    def parameters(self) -> int:
        """All of them: layers, embedding and, where it is not tied, the output layer."""
        return self.body + (1 if self.tied else 2) * self.head

    def adapter_parameters(self, rank: int) -> int:
        """Parameters of low-rank adapters beside every matrix of the layers, rank · (inputs + outputs) each.

        References
        ----------
        Hu et al. 2022, LoRA: low-rank adaptation of large language models, section 4.2.
        """
        attention = 4 * self.hidden_size + 2 * (self.query_size + self.key_value_size)
        feed_forward = (3 if self.gated else 2) * (self.hidden_size + self.intermediate_size)
        return self.n_layers * rank * (attention + feed_forward)

    @property
    def cache_numbers(self) -> int:
        """Keys and values that a token leaves in the cache."""
        return 2 * self.n_layers * self.key_value_size

    @property
    def activation_numbers(self) -> int:
        """Numbers that a token leaves for the backward pass, without recomputation.

        In each layer the inputs of two norms and of the linear maps that follow them (4 hidden), queries, keys,
        values and the attention's output, and what goes into the activation, out of it, and into the last map.

        References
        ----------
        Korthikanti et al. 2022, Reducing activation recomputation in large transformer models, eq. 1, without
        dropout and with an attention that keeps no scores: 16 hidden sizes a layer where the feed-forward part is
        four times as wide.
        """
        attention = 4 * self.hidden_size + 2 * (self.query_size + self.key_value_size)
        return self.n_layers * (attention + (4 if self.gated else 2) * self.intermediate_size)


@dataclass(frozen=True)
class Device:
    """What a device gives at best, and the share of it that is reached.

    Attributes
    ----------
    float32, bfloat16 : dense matrix products, 10^12 operations a second.
    bandwidth : of the memory, 10^9 bytes a second.
    memory : 10^9 bytes.
    utilisation : share of both that is reached, in (0, 1].
    layer_seconds : the least that a layer takes in a forward pass, however small its work.
    job_seconds : what a job takes before and after: imports, loading, writing.
    """

    float32: float
    bfloat16: float
    bandwidth: float
    memory: float
    utilisation: float
    layer_seconds: float
    job_seconds: float

    def time(self, flops: float, moved_bytes: float, layers: float, precision: Precision) -> Time:
        """Time of work whose arithmetic, memory traffic and layers run at once: the longest of the three.

        Examples
        --------
        >>> device = Device(1.0, 10.0, 100.0, 1.0, 0.5, 0.0, 0.0)
        >>> device.time(1e12, 1e9, 0, "float32")
        Time(seconds=2.0, limit='arithmetic')
        >>> device.time(1e12, 1e11, 0, "bfloat16")
        Time(seconds=2.0, limit='bandwidth')
        """
        peak = self.float32 if precision == "float32" else self.bfloat16
        seconds = {
            "arithmetic": flops / (peak * 1e12 * self.utilisation),
            "bandwidth": moved_bytes / (self.bandwidth * 1e9 * self.utilisation),
            "layers": layers * self.layer_seconds,
        }
        limit = max(seconds, key=lambda name: seconds[name])
        return Time(seconds[limit], limit)


@dataclass(frozen=True)
class Time:
    """Seconds, and which of arithmetic, bandwidth and layers they are due to."""

    seconds: float
    limit: str


def forward_flops(shape: Shape, tokens: float, context: float, head_tokens: float = 0.0) -> float:
    """Floating-point operations of a forward pass.

    Parameters
    ----------
    shape : of the model.
    tokens : read or written.
    context : tokens that each of them attends to, counted without the saving of a causal mask.
    head_tokens : those whose distribution over the vocabulary is computed.

    Returns
    -------
    Two for each parameter and token, and 4 · layers · query size · context a token for the attention.

    References
    ----------
    Kaplan et al. 2020, Scaling laws for neural language models, table 1; Chowdhery et al. 2022, PaLM,
    appendix B.

    Examples
    --------
    >>> shape = Shape(2, 1, 2, 2, 4, 10)
    >>> shape.body, forward_flops(shape, 3, 5, head_tokens=1)  # 2·40·3 + 4·1·2·5·3 + 2·20·1
    (40, 400.0)
    """
    attention = 4 * shape.n_layers * shape.query_size * context
    return float(tokens * (2 * shape.body + attention) + 2 * shape.head * head_tokens)


def reading_time(
    shape: Shape,
    device: Device,
    precision: Precision,
    *,
    n: float,
    length: float,
    batch: int,
    head_tokens: float = 0.0,
    work: int = READING,
) -> Time:
    """Time to read texts in batches, and to train on them.

    Parameters
    ----------
    shape, device, precision : of the model, of the machine, of the products.
    n : texts.
    length : tokens of each.
    batch : texts in one pass.
    head_tokens : of each text, those whose distribution over the vocabulary is computed.
    work : forward passes that each text is worth: READING 1; TRAINING 3, as gradients of activations and of
        weights cost one each; TRAINING_ADAPTERS 2, as the weights have none.

    References
    ----------
    Kaplan et al. 2020: six operations for each parameter and token of training.
    """
    passes = work * math.ceil(n / batch)
    flops = work * n * forward_flops(shape, length, length, head_tokens)
    moved = passes * shape.parameters * WEIGHT_BYTES
    return device.time(flops, moved, passes * shape.n_layers, precision)


def writing_time(
    shape: Shape,
    device: Device,
    precision: Precision,
    *,
    n: float,
    prompt: float,
    response: float,
    longest: int,
    batch: int,
) -> Time:
    """Time to write responses token by token with a cache; reading the prompts is not in it.

    A batch takes as many steps as its longest response has tokens; rows that have ended leave it. Each step
    reads all weights and the cache of the rows that are left.

    Parameters
    ----------
    shape, device, precision : of the model, of the machine, of the products.
    n : responses.
    prompt, response : their mean numbers of tokens.
    longest : most tokens of a response, which some row of each batch is taken to reach.
    batch : rows written at once.

    References
    ----------
    Pope et al. 2022, Efficiently scaling transformer inference, sections 2 and 3: writing is bound by reading
    weights and cache from memory.
    """
    batches = math.ceil(n / batch)
    rows = n / batches * response / longest
    context = prompt + response / 2
    flops = rows * forward_flops(shape, 1, context, head_tokens=1)
    cache = rows * context * shape.cache_numbers * NUMBER_BYTES[precision]
    steps = batches * longest
    moved = shape.parameters * WEIGHT_BYTES + CACHE_TRAFFIC * cache
    return device.time(steps * flops, steps * moved, steps * shape.n_layers, precision)


def weight_bytes(shape: Shape, *, trained: bool = False, precision: Precision = "float32") -> int:
    """Memory of a model: 4 bytes a parameter, in training 16 with gradient and moments; autocast adds 2.

    Examples
    --------
    >>> shape = Shape(2, 1, 2, 2, 4, 10)
    >>> shape.parameters, weight_bytes(shape), weight_bytes(shape, trained=True, precision="bfloat16")
    (60, 240, 1080)
    """
    each = TRAINED_BYTES if trained else WEIGHT_BYTES
    return shape.parameters * (each + (AUTOCAST_BYTES if precision == "bfloat16" else 0))


def training_bytes(shape: Shape, precision: Precision, *, tokens: float, head_tokens: float) -> float:
    """Memory of one pass with gradients beside the weights: activations, and rows over the vocabulary."""
    kept = tokens * shape.activation_numbers * NUMBER_BYTES[precision]
    return kept + head_tokens * shape.vocabulary_size * LOGIT_BYTES


def reading_bytes(shape: Shape, *, tokens: float, logits: float = 0.0, head_tokens: float = 0.0) -> float:
    """Memory of one pass without gradients beside the weights.

    Parameters
    ----------
    shape : of the model.
    tokens : of the pass.
    logits : tokens whose logits are computed, 4 bytes an entry of the vocabulary.
    head_tokens : tokens on whose distributions more is computed.
    """
    widest = 2 * shape.hidden_size + shape.query_size + 2 * shape.key_value_size
    widest += (3 if shape.gated else 2) * shape.intermediate_size
    vocabulary = shape.vocabulary_size * (4 * logits + LOGIT_BYTES * head_tokens)
    return tokens * widest * NUMBER_BYTES["float32"] + vocabulary


def writing_bytes(
    shape: Shape, precision: Precision, *, rows: int, prompts: int, prompt: int, longest: int
) -> float:
    """Memory of writing a batch beside the weights, at its largest.

    Parameters
    ----------
    shape, precision : of the model, of the products.
    rows : responses written at once.
    prompts : different prompts among them, each read once, the logits of all its tokens with it.
    prompt, longest : most tokens of a prompt and of a response.
    """
    reading = reading_bytes(shape, tokens=prompts * prompt, logits=prompts * prompt)
    cache = rows * (prompt + longest) * shape.cache_numbers * NUMBER_BYTES[precision]
    return max(reading, cache + rows * shape.vocabulary_size * DRAW_BYTES)
