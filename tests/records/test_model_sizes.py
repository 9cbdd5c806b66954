"""Parameters, operations and numbers kept, against models that torch builds, counts and saves itself."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

from infalign.records.model_sizes import PUBLISHED, ModelSizes

SIZES = {
    "hidden_size": 64,
    "n_layers": 3,
    "key_value_size": 32,
    "intermediate_size": 160,
    "vocabulary_size": 500,
}
HEADS, N, LENGTH = 4, 2, 20
# Millions of parameters as the models' cards have them.
CARDS = {
    "EleutherAI/pythia-410m": 405.3,
    "EleutherAI/pythia-1b": 1011.8,
    "EleutherAI/pythia-1.4b": 1414.6,
    "EleutherAI/pythia-2.8b": 2775.2,
    "EleutherAI/pythia-6.9b": 6857.3,
    "Qwen/Qwen2.5-1.5B-Instruct": 1543.7,
    "Qwen/Qwen3-0.6B-Base": 596.0,
    "Qwen/Qwen3-1.7B-Base": 1720.6,
    "Qwen/Qwen3-8B": 8190.7,
    "openai-community/gpt2": 124.4,
    "distilbert/distilbert-base-uncased": 66.4,
}


def llama(sizes: ModelSizes, attention: str = "eager") -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=sizes.vocabulary_size, hidden_size=sizes.hidden_size, num_hidden_layers=sizes.n_layers,
        num_attention_heads=HEADS, num_key_value_heads=HEADS * sizes.keys // sizes.queries,
        intermediate_size=sizes.intermediate_size, tie_word_embeddings=sizes.tied, attn_implementation=attention,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def matrices(model) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.dim() == 2)


@pytest.mark.parametrize("tied", [True, False])
def test_parameters_are_those_of_a_model(tied):
    sizes = ModelSizes(**SIZES, tied=tied)
    assert matrices(llama(sizes)) == sizes.parameters


def test_parameters_of_a_plain_feed_forward_part():
    sizes = ModelSizes(hidden_size=64, n_layers=2, intermediate_size=256, vocabulary_size=300, gated=False, tied=False)
    config = GPTNeoXConfig(
        vocab_size=300, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=256
    )
    assert matrices(GPTNeoXForCausalLM(config)) == sizes.parameters


@pytest.mark.parametrize("name", CARDS)
def test_published_models_have_their_number_of_parameters(name):
    # norms and biases are left out, and GPT-2's positions
    assert PUBLISHED[name].parameters / 1e6 == pytest.approx(CARDS[name], rel=0.01)


def test_operations_of_a_forward_and_a_training_pass_are_those_that_torch_counts():
    sizes, tokens = ModelSizes(**SIZES), torch.randint(0, 500, (N, LENGTH))
    model = llama(sizes)
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        model(input_ids=tokens, use_cache=False)
    with FlopCounterMode(display=False) as training:
        model(input_ids=tokens, labels=tokens, use_cache=False).loss.backward()
    head_size = sizes.queries // HEADS
    angles = 2 * (head_size // 2) * LENGTH  # of the rotary embedding: positions times frequencies, not ours
    ours = sizes.operations(N * LENGTH, LENGTH, head=N * LENGTH)
    assert forward.get_total_flops() == pytest.approx(ours + angles, rel=1e-12)
    assert training.get_total_flops() == pytest.approx(3 * ours + angles, rel=1e-12)


def test_a_token_leaves_its_numbers_in_the_cache():
    sizes = ModelSizes(**SIZES)
    cache = llama(sizes)(input_ids=torch.zeros((1, 7), dtype=torch.long), use_cache=True).past_key_values
    numbers = sum(layer.keys.numel() + layer.values.numel() for layer in cache.layers)
    assert numbers == 7 * sizes.cached


def test_a_token_leaves_the_activations_that_torch_saves():
    sizes, kept = ModelSizes(**SIZES), {}
    model = llama(sizes, "sdpa")
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor  # alive, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.base_model(input_ids=torch.randint(0, 500, (N, LENGTH)), use_cache=False)[0].sum()
    numbers = sum(t.untyped_storage().nbytes() / 4 for place, t in kept.items() if place not in weights)
    last_norm = 2 * sizes.hidden_size
    assert numbers / (N * LENGTH) == pytest.approx(sizes.activations + last_norm, rel=0.02)


def test_activations_are_sixteen_hidden_sizes_a_layer_where_the_paper_counts_them():
    sizes = ModelSizes(hidden_size=128, n_layers=2, intermediate_size=512, vocabulary_size=10, gated=False)
    assert sizes.activations == 2 * 16 * 128
