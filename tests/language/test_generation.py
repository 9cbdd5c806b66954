import itertools
from collections import Counter

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import chisquare

from infalign.errors import InputError
from infalign.language.generation import sample_responses, sample_tokens
from infalign.language.models import encode_prompts
from infalign.language.sequence_statistics import sequence_statistics


def draw(model, prompts, n, *, steps=12, seed=0, **options):
    rows = [p for p in prompts for _ in range(n)]
    uniforms = np.random.default_rng(seed).random((len(rows), steps))
    return rows, uniforms, sample_tokens(model, rows, uniforms, eos_id=2, max_new_tokens=steps, **options)


def tiny(vocabulary):
    """A model on a few tokens only, so that all its sequences can be listed."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = LlamaForCausalLM(config)
        for parameter in model.parameters():
            if parameter.ndim == 2:
                torch.nn.init.normal_(parameter, std=0.8)
    return model.eval()


def exact_probabilities(model, prompt, steps, eos_id, vocabulary, temperature):
    """Probability of every response: each sequence ends at the first end token or at the last step."""
    probabilities = {}
    for tokens in itertools.product(range(vocabulary), repeat=steps):
        end = tokens.index(eos_id) + 1 if eos_id in tokens else steps
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *tokens]])).logits[0].double() / temperature
        log_p = torch.log_softmax(logits, -1)
        start = len(prompt) - 1
        probabilities[tokens[:end]] = float(sum(log_p[start + i, tokens[i]] for i in range(end)).exp())
    return probabilities


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_samples_follow_the_models_exact_distribution(temperature):
    model, prompt, n = tiny(4), [1, 3], 20_000
    exact = exact_probabilities(model, prompt, 3, 2, 4, temperature)
    assert sum(exact.values()) == pytest.approx(1.0, abs=1e-5)
    _, _, samples = draw(model, [prompt], n, steps=3, temperature=temperature)
    counts = Counter(map(tuple, samples.tokens))
    expected = np.array([exact[key] for key in exact]) * n
    observed = np.array([counts[key] for key in exact])
    common = expected >= 5
    pooled = [np.append(x[common], x[~common].sum()) for x in (observed, expected)]
    assert set(counts) <= set(exact)
    assert chisquare(pooled[0], pooled[1] * n / pooled[1].sum()).pvalue > 1e-3


def test_same_uniforms_give_the_same_tokens_in_any_batch_and_order(language_model, tokenizer, prompts):
    encoded = encode_prompts(tokenizer, prompts["prompt"].to_list())
    rows, uniforms, whole = draw(language_model, encoded, 20)
    order = np.random.default_rng(1).permutation(len(rows))
    parts = sample_tokens(
        language_model, [rows[i] for i in order], uniforms[order], eos_id=2, max_new_tokens=12, batch_size=7
    )
    assert [whole.tokens[i] for i in order] == parts.tokens
    for i, log_probs in zip(order, parts.log_probs, strict=True):
        np.testing.assert_allclose(whole.log_probs[i], log_probs, atol=1e-4)


def test_log_probs_are_those_of_one_forward_pass(language_model, tokenizer, prompts):
    encoded = encode_prompts(tokenizer, prompts["prompt"].to_list())
    rows, _, samples = draw(language_model, encoded, 10, temperature=0.8)
    exact = sequence_statistics(language_model, language_model, rows, samples.tokens, temperature=0.8)
    sampled = [log_probs.sum() for log_probs in samples.log_probs]
    np.testing.assert_allclose(sampled, exact.log_prob, atol=1e-3)


def test_finished_says_whether_the_last_token_ends_the_response(language_model, tokenizer, prompts):
    encoded = encode_prompts(tokenizer, prompts["prompt"].to_list())
    _, _, samples = draw(language_model, encoded, 60, steps=30)
    ends = [tokens[-1] == 2 for tokens in samples.tokens]
    assert ends == samples.finished.tolist()
    assert 0 < sum(ends) < len(ends)
    assert all(2 not in tokens[:-1] for tokens in samples.tokens)
    assert all(len(t) == 30 for t, end in zip(samples.tokens, ends, strict=True) if not end)


def test_a_prompts_responses_do_not_depend_on_other_prompts_or_the_number_of_samples(
    language_model, tokenizer, prompts
):
    options = {"max_new_tokens": 10, "seed": 4}
    every = sample_responses(language_model, tokenizer, prompts, 5, **options)
    alone = sample_responses(language_model, tokenizer, prompts[1:2], 3, **options)
    same = every.filter(pl.col("prompt_id") == "b", pl.col("sample_id") < 3)
    assert same["tokens"].to_list() == alone["tokens"].to_list()
    assert every.columns == [
        "prompt_id",
        "sample_id",
        "response",
        "tokens",
        "n_tokens",
        "log_prob",
        "finished",
    ]
    assert every["n_tokens"].to_list() == every["tokens"].list.len().to_list()
    other = sample_responses(language_model, tokenizer, prompts[1:2], 3, max_new_tokens=10, seed=5)
    assert other["tokens"].to_list() != alone["tokens"].to_list()


def test_response_text_leaves_special_tokens_out(language_model, tokenizer, prompts):
    samples = sample_responses(language_model, tokenizer, prompts, 20, max_new_tokens=30, seed=0)
    assert samples["finished"].any()
    assert not samples["response"].str.contains("</s>", literal=True).any()


def test_bad_input_is_named(language_model, tokenizer, prompts):
    with pytest.raises(InputError, match=r"longest prompt has 16 tokens, which with 60 new tokens exceeds.*64"):
        sample_responses(language_model, tokenizer, prompts, 2, max_new_tokens=60, seed=0)
    with pytest.raises(InputError, match="at least one prompt and one sample each, got 0 prompts"):
        sample_responses(language_model, tokenizer, prompts[:0], 2, max_new_tokens=5, seed=0)
    with pytest.raises(InputError, match="temperature must be > 0, got 0"):
        sample_responses(language_model, tokenizer, prompts, 2, max_new_tokens=5, temperature=0, seed=0)
    with pytest.raises(InputError, match=r"uniforms must have shape \(1, 3\) .* got \(1, 4\)"):
        sample_tokens(language_model, [[5]], np.zeros((1, 4)), eos_id=2, max_new_tokens=3)
    with pytest.raises(InputError, match="prompt 0 has no tokens"):
        sample_tokens(language_model, [[]], np.zeros((1, 3)), eos_id=2, max_new_tokens=3)
