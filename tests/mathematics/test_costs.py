"""Costs by hand, and against models that torch builds and counts itself."""

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

from infalign.mathematics.costs import (
    TRAINING,
    TRAINING_ADAPTERS,
    Device,
    Shape,
    Time,
    forward_flops,
    reading_bytes,
    reading_time,
    training_bytes,
    weight_bytes,
    writing_bytes,
    writing_time,
)

SMALL = Shape(64, 3, 64, 32, 160, 500)
DEVICE = Device(
    float32=1.0,
    bfloat16=4.0,
    bandwidth=100.0,
    memory=10.0,
    utilisation=0.5,
    layer_seconds=0.0,
    job_seconds=0.0,
)


def llama(shape: Shape) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=shape.vocabulary_size, hidden_size=shape.hidden_size, num_hidden_layers=shape.n_layers,
        num_attention_heads=4, num_key_value_heads=4 * shape.key_value_size // shape.query_size,
        intermediate_size=shape.intermediate_size, tie_word_embeddings=shape.tied,
        attn_implementation="sdpa",
    )  # fmt: skip
    return LlamaForCausalLM(config)


def matrices(model) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.dim() == 2)


@pytest.mark.parametrize("tied", [True, False])
def test_parameters_are_those_of_a_model(tied):
    shape = Shape(64, 3, 64, 32, 160, 500, tied=tied)
    assert matrices(llama(shape)) == shape.parameters


def test_parameters_of_a_plain_feed_forward_part():
    shape = Shape(64, 2, 64, 64, 256, 300, gated=False, tied=False)
    config = GPTNeoXConfig(
        vocab_size=300, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=256
    )
    assert matrices(GPTNeoXForCausalLM(config)) == shape.parameters


def test_forward_operations_are_those_that_torch_counts():
    tokens, n = torch.zeros((2, 20), dtype=torch.long), 2 * 20
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        llama(SMALL)(input_ids=tokens, use_cache=False)
    counted = counter.get_total_flops()
    # torch's attention on CPU may go uncounted or be counted: the matrices are, in either case
    attention = 4 * SMALL.n_layers * SMALL.query_size * 20 * n
    ours = forward_flops(SMALL, n, 20, head_tokens=n)
    rotations = 0.01 * ours  # the angles of the rotary embedding are products too
    assert ours - attention <= counted <= ours + rotations


def test_a_token_leaves_its_numbers_in_the_cache():
    cache = llama(SMALL)(input_ids=torch.zeros((1, 7), dtype=torch.long), use_cache=True).past_key_values
    numbers = sum(layer.keys.numel() + layer.values.numel() for layer in cache.layers)
    assert numbers == 7 * SMALL.cache_numbers


def test_activations_are_sixteen_hidden_sizes_a_layer_where_the_paper_counts_them():
    shape = Shape(128, 2, 128, 128, 512, 10, gated=False)
    assert shape.activation_numbers == 2 * 16 * 128


def test_adapters_have_the_parameters_of_peft_and_cost_two_forward_passes():
    shape = Shape(64, 3, 64, 32, 160, 500)
    model = llama(shape)
    tokens = torch.randint(0, 500, (4, 40))
    with FlopCounterMode(display=False) as forward:
        model(tokens)
    model.requires_grad_(False)
    inject_adapter_in_model(LoraConfig(r=2, target_modules="all-linear"), model)
    adapters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert sum(parameter.numel() for parameter in adapters) == shape.adapter_parameters(2)
    with FlopCounterMode(display=False) as training:
        model(tokens).logits.sum().backward()
    ratio = training.get_total_flops() / forward.get_total_flops()
    assert ratio == pytest.approx(TRAINING_ADAPTERS, rel=0.2)  # the adapters' own are on top


def test_reading_by_hand():
    # body 40, head 20: 10 texts of 3 tokens, of one of which the distribution is computed
    shape = Shape(2, 1, 2, 2, 4, 10)
    flops = 10 * (3 * (2 * 40 + 4 * 2 * 3) + 2 * 20)
    options = {"n": 10, "length": 3, "batch": 4, "head_tokens": 1}
    slow = Device(1e-9, 1e-9, 1e9, 1.0, 0.5, 0.0, 0.0)
    assert reading_time(shape, slow, "float32", **options) == Time(pytest.approx(flops / 500), "arithmetic")
    trained = reading_time(shape, slow, "float32", **options, work=TRAINING)
    assert trained.seconds == pytest.approx(3 * flops / 500)
    narrow = Device(1e9, 1e9, 1e-6, 1.0, 0.5, 0.0, 0.0)  # 500 bytes a second; three passes over 60 weights
    assert reading_time(shape, narrow, "float32", **options) == Time(
        pytest.approx(3 * 60 * 4 / 500), "bandwidth"
    )
    launching = Device(1e9, 1e9, 1e9, 1.0, 0.5, 0.25, 0.0)
    assert reading_time(shape, launching, "float32", **options) == Time(3 * 0.25, "layers")


def test_writing_reads_weights_and_cache_at_every_step():
    shape = Shape(2, 1, 2, 2, 4, 10)
    narrow = Device(1e9, 1e9, 1e-6, 1.0, 0.5, 0.0, 0.0)
    time = writing_time(shape, narrow, "float32", n=8, prompt=4, response=5, longest=10, batch=4)
    # 2 batches of 10 steps; on average 2 of 4 rows are left, each with 4 + 5/2 tokens of 4 numbers in the cache
    step = 60 * 4 + 3 * 2 * 6.5 * 4 * 4
    assert time == Time(pytest.approx(2 * 10 * step / 500), "bandwidth")


def test_longer_batches_of_rows_write_faster_until_arithmetic_limits():
    shape, rows = Shape(1024, 16, 1024, 1024, 4096, 50000), (1, 8, 64, 4096)
    times = [
        writing_time(shape, DEVICE, "float32", n=4096, prompt=32, response=32, longest=32, batch=batch)
        for batch in rows
    ]
    assert [time.limit for time in times] == ["bandwidth", "bandwidth", "arithmetic", "arithmetic"]
    assert times[0].seconds > 5 * times[1].seconds > 5 * times[2].seconds
    assert times[3].seconds == pytest.approx(times[2].seconds)


def test_bytes_by_hand():
    shape = Shape(2, 1, 2, 2, 4, 10)
    assert weight_bytes(shape, trained=True) == 16 * 60
    # activations: 4·2 + 2·(2 + 2) + 4·4 = 32 numbers a token
    assert training_bytes(shape, "bfloat16", tokens=3, head_tokens=1) == 3 * 32 * 2 + 10 * 24
    # widest: 2·2 + 2 + 2·2 + 3·4 = 22 numbers a token
    assert reading_bytes(shape, tokens=3, logits=3) == 3 * 22 * 4 + 3 * 10 * 4
    written = writing_bytes(shape, "float32", rows=100, prompts=1, prompt=3, longest=2)
    assert written == 100 * 5 * 4 * 4 + 100 * 10 * 20
