import numpy as np
import polars as pl
import pytest
import torch

from infalign.errors import InputError
from infalign.language.generation import sample_tokens
from infalign.language.models import encode_prompts
from infalign.language.scoring import pair_accuracy, reward_scores
from infalign.language.sequence_statistics import sequence_statistics

RESPONSES = ["Good luck!", "Measure the leaves twice. Good luck!", "Or not.", "Buy the cup. Goodbye."]
PROMPTS = ["Please, how do I brew tea?\n", "Tea?\n", "Tea?\n", "Please, how do I brew tea?\n"]


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_rewards_do_not_depend_on_batch_or_order(reward_model, tokenizer, batch_size):
    whole = reward_scores(reward_model, tokenizer, PROMPTS, RESPONSES, batch_size=4)
    back = reward_scores(reward_model, tokenizer, PROMPTS[::-1], RESPONSES[::-1], batch_size=batch_size)
    np.testing.assert_allclose(whole, back[::-1], atol=1e-5)
    assert whole.dtype == np.float64
    assert len(set(whole)) == len(whole)


def test_reward_is_the_head_at_the_end_token(reward_model, tokenizer):
    ours = reward_scores(reward_model, tokenizer, PROMPTS[:1], RESPONSES[:1])
    tokens = tokenizer(PROMPTS[0])["input_ids"] + tokenizer(RESPONSES[0])["input_ids"]
    with torch.no_grad():
        finished = reward_model(torch.tensor([[*tokens, tokenizer.eos_token_id]])).logits.item()
        cut = reward_model(torch.tensor([tokens])).logits.item()
    assert ours[0] == pytest.approx(finished, abs=1e-5)
    truncated = reward_scores(reward_model, tokenizer, PROMPTS[:1], RESPONSES[:1], finished=[False])
    assert truncated[0] == pytest.approx(cut, abs=1e-5)
    assert finished != pytest.approx(cut, abs=1e-4)


def test_pair_accuracy_counts_the_pairs_that_the_rewards_order(reward_model, tokenizer):
    rewards = reward_scores(reward_model, tokenizer, ["Tea?\n"] * 4, RESPONSES)
    order = [RESPONSES[i] for i in np.argsort(rewards)]  # ascending
    pairs = pl.DataFrame({"prompt": ["Tea?\n"] * 3, "chosen": order[1:], "rejected": order[:-1]})
    swapped = pairs[:1].rename({"chosen": "rejected", "rejected": "chosen"})
    assert pair_accuracy(reward_model, tokenizer, pairs) == 1.0
    assert pair_accuracy(reward_model, tokenizer, pl.concat([pairs, swapped], how="diagonal")) == 0.75
    assert pair_accuracy(reward_model, tokenizer, pairs.with_columns(rejected="chosen")) == 0.5


def test_pair_accuracy_reads_the_rejected_responses_own_prompt(reward_model, tokenizer):
    rewards = reward_scores(reward_model, tokenizer, PROMPTS[:2], ["Or not."] * 2)
    pairs = pl.DataFrame(
        {
            "prompt": PROMPTS[:1],
            "chosen": ["Or not."],
            "rejected": ["Or not."],
            "rejected_prompt": PROMPTS[1:2],
        }
    )
    assert pair_accuracy(reward_model, tokenizer, pairs) == float(rewards[0] > rewards[1])


def sampled(policy, tokenizer, n):
    rows = encode_prompts(tokenizer, ["Please, how do I brew tea?\n"]) * n
    uniforms = np.random.default_rng(0).random((n, 8))
    return rows, sample_tokens(policy, rows, uniforms, eos_id=2, max_new_tokens=8).tokens


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_sequence_statistics_do_not_depend_on_the_batch(language_model, reference, tokenizer, batch_size):
    prompts, responses = sampled(language_model, tokenizer, 12)
    whole = sequence_statistics(language_model, reference, prompts, responses, batch_size=7)
    part = sequence_statistics(language_model, reference, prompts, responses, batch_size=batch_size)
    for name in ("log_prob", "reference_log_prob", "kl"):
        np.testing.assert_allclose(getattr(whole, name), getattr(part, name), atol=2e-5, rtol=1e-5)


def test_both_kl_estimators_have_the_same_mean_and_the_second_less_variance(language_model, reference, tokenizer):
    prompts, responses = sampled(language_model, tokenizer, 3000)
    statistics = sequence_statistics(language_model, reference, prompts, responses)
    difference = statistics.log_prob - statistics.reference_log_prob - statistics.kl
    standard_error = difference.std() / np.sqrt(len(difference))
    assert abs(difference.mean()) < 4 * standard_error
    assert statistics.kl.min() >= -1e-5
    assert statistics.kl.std() < (statistics.log_prob - statistics.reference_log_prob).std()


def test_kl_to_itself_is_zero(language_model, tokenizer):
    prompts, responses = sampled(language_model, tokenizer, 5)
    statistics = sequence_statistics(language_model, language_model, prompts, responses)
    np.testing.assert_array_equal(statistics.kl, 0.0)
    np.testing.assert_array_equal(statistics.log_prob, statistics.reference_log_prob)


def test_prompt_tokens_do_not_count(language_model, reference, tokenizer):
    prompt, response = [10, 11, 12, 13], [14, 2]
    statistics = sequence_statistics(language_model, reference, [prompt], [response])
    with torch.no_grad():
        log_p = torch.log_softmax(language_model(torch.tensor([prompt + response])).logits[0], -1)
    assert statistics.log_prob[0] == pytest.approx(float(log_p[3, 14] + log_p[4, 2]), abs=1e-4)


def test_bad_input_is_named(language_model, reward_model, tokenizer):
    with pytest.raises(InputError, match="got 1 prompts and 2 responses"):
        reward_scores(reward_model, tokenizer, ["a"], ["b", "c"])
    with pytest.raises(InputError, match="is a sequence classifier with one or two labels, got LlamaForCausalLM"):
        reward_scores(language_model, tokenizer, ["a"], ["b"])
    with pytest.raises(InputError, match="one non-empty response per prompt"):
        sequence_statistics(language_model, language_model, [[5]], [[]])
    with pytest.raises(InputError, match="exceeds the model's context of 64"):
        sequence_statistics(language_model, language_model, [[5] * 60], [[6] * 10])
