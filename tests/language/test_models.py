import copy

import numpy as np
import polars as pl
import pytest
import torch
from tiny_models import TEXTS, settings, sizes
from transformers import GPTNeoXConfig, GPTNeoXForSequenceClassification

from infalign.errors import InputError
from infalign.language.models import (
    encode_prompts,
    encode_responses,
    load_language_model,
    new_language_model,
    save_model,
    start_model,
    train_tokenizer,
)
from infalign.language.reward_models import load_reward_model, reward_model_from
from infalign.language.scoring import pair_accuracy, reward_scores
from infalign.language.sequence_statistics import sequence_statistics
from infalign.language.supervised import train_language_model, train_reward_model
from infalign.records.task import Base, FromConfig

DEMONSTRATIONS = pl.DataFrame({"prompt": [TEXTS[0]] * 32, "response": TEXTS[1:] * 16})
PAIRS = pl.DataFrame({"prompt": [TEXTS[0]] * 32, "chosen": [TEXTS[1]] * 32, "rejected": [TEXTS[2]] * 32})


def test_tokenizer_round_trips_ascii_and_bytes():
    small, full = train_tokenizer(TEXTS, 130), train_tokenizer([*TEXTS, "thé à la menthe"], 300)
    text = 'Zebra {quick} "brown" 0-9 ~\n tea'
    assert small.decode(small(text)["input_ids"]) == text
    assert full.decode(full("thé — ça")["input_ids"]) == "thé — ça"
    assert small("é")["input_ids"] == [small.unk_token_id] * 2  # two bytes, nothing dropped silently
    assert len({small.pad_token_id, small.eos_token_id, small.bos_token_id}) == 3
    with pytest.raises(InputError, match=r"vocabulary of at least 100 tokens .* vocabulary_size 50"):
        train_tokenizer(TEXTS, 50)


def test_responses_end_with_the_end_token_unless_cut(tokenizer):
    whole, cut = encode_responses(tokenizer, ["tea", "tea"], [True, False])
    assert whole == [*cut, tokenizer.eos_token_id]
    assert tokenizer.eos_token_id not in encode_prompts(tokenizer, ["tea"])[0]


def test_new_models_are_fixed_by_their_seed_and_leave_torchs_generator_alone(tokenizer):
    before = torch.random.get_rng_state()
    first, again, other = (new_language_model(sizes(), tokenizer, seed=s) for s in (0, 0, 1))
    assert torch.equal(before, torch.random.get_rng_state())
    weights = [model.get_input_embeddings().weight for model in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    with pytest.raises(InputError, match=r"multiple of 2 × n_heads = 6 .* got 16"):
        new_language_model(sizes(n_heads=3), tokenizer, seed=0)


def test_reference_learns_its_demonstrations_and_repeats_itself(tokenizer):
    trained = []
    for _ in range(2):
        model = new_language_model(sizes(), tokenizer, seed=0)
        prompts = encode_prompts(tokenizer, DEMONSTRATIONS["prompt"].to_list())
        responses = encode_responses(tokenizer, DEMONSTRATIONS["response"].to_list())
        before = sequence_statistics(model, model, prompts, responses).log_prob.mean()
        train_language_model(model, tokenizer, DEMONSTRATIONS, settings(epochs=3), seed=0)
        trained.append(sequence_statistics(model, model, prompts, responses).log_prob.mean())
    assert trained[0] > before + 10
    assert trained[0] == trained[1]


def test_reward_model_learns_its_pairs_and_starts_from_the_language_model(tokenizer):
    language_model = new_language_model(sizes(), tokenizer, seed=0)
    model = reward_model_from(language_model, tokenizer, seed=1)
    weights = language_model.get_input_embeddings().weight.clone()
    assert torch.equal(model.get_input_embeddings().weight, weights)
    train_reward_model(model, tokenizer, PAIRS, settings(epochs=4), seed=0)
    assert pair_accuracy(model, tokenizer, PAIRS) == 1.0
    assert torch.equal(language_model.get_input_embeddings().weight, weights)
    with pytest.raises(InputError, match="no preference pairs"):
        train_reward_model(model, tokenizer, PAIRS[:0], settings(), seed=0)


def test_reward_model_learns_prompt_offsets_from_pairs_across_prompts(tokenizer):
    pairs = pl.DataFrame(
        {
            "prompt": ["Tea?\n"] * 64,
            "chosen": TEXTS[1:] * 32,
            "rejected": [TEXTS[1], TEXTS[1], TEXTS[2], TEXTS[2]] * 16,
            "rejected_prompt": ["Please?\n"] * 64,
        }
    )
    model = reward_model_from(new_language_model(sizes(), tokenizer, seed=0), tokenizer, seed=1)
    train_reward_model(model, tokenizer, pairs, settings(epochs=4), seed=0)
    rewards = reward_scores(model, tokenizer, ["Tea?\n", "Please?\n"], [TEXTS[1]] * 2)
    assert rewards[0] > rewards[1] + 0.5


def test_saved_models_come_back_as_they_were(tmp_path, language_model, reward_model, tokenizer):
    save_model(language_model, tokenizer, tmp_path / "language")
    save_model(reward_model, tokenizer, tmp_path / "reward")
    assert sorted(p.suffix for p in tmp_path.rglob("*model*")) == [".safetensors", ".safetensors"]
    loaded, its_tokenizer = load_language_model(tmp_path / "language")
    tokens = encode_prompts(its_tokenizer, TEXTS)
    assert tokens == encode_prompts(tokenizer, TEXTS)
    both = sequence_statistics(loaded, language_model, [[4]] * 3, tokens)
    np.testing.assert_array_equal(both.kl, 0.0)
    again, _ = load_reward_model(tmp_path / "reward")
    arguments = (tokenizer, TEXTS[:1] * 2, TEXTS[1:])
    np.testing.assert_array_equal(reward_scores(again, *arguments), reward_scores(reward_model, *arguments))


def test_start_model_follows_the_base_block(tmp_path, language_model, tokenizer):
    save_model(language_model, tokenizer, tmp_path)
    from_config = Base(from_config=FromConfig(**vars(sizes())))
    for base, options in (
        (Base(path=str(tmp_path)), {}),
        (Base(reference=True), {"reference": tmp_path}),
        (from_config, {"tokenizer": tokenizer}),
    ):
        model, its_tokenizer = start_model(base, seed=0, **options)
        assert len(its_tokenizer) == model.config.vocab_size
    with pytest.raises(InputError, match="reference: true needs the folder"):
        start_model(Base(reference=True), seed=0)
    with pytest.raises(InputError, match="from_config needs a tokenizer"):
        start_model(from_config, seed=0)


def test_folders_without_safetensors_are_refused(tmp_path, language_model, tokenizer):
    with pytest.raises(InputError, match=r"no folder .*missing; give a folder with config\.json"):
        load_language_model(tmp_path / "missing")
    save_model(language_model, tokenizer, tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"holds no config.json with \*.safetensors"):
        load_language_model(tmp_path)


def test_a_published_reward_model_is_read_from_its_shards_with_its_head(tmp_path, tokenizer):
    """The files of the hub's pythia reward models: GPT-NeoX with one label, in several safetensors."""
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        num_labels=1, pad_token_id=tokenizer.pad_token_id, max_position_embeddings=64,
    )  # fmt: skip
    model = GPTNeoXForSequenceClassification(config).eval()
    model.save_pretrained(tmp_path, max_shard_size="4KB")
    tokenizer.save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    loaded, its_tokenizer = load_reward_model(tmp_path, complete=True)
    arguments = (TEXTS[:1] * 2, TEXTS[1:])
    expected = reward_scores(model, tokenizer, *arguments)
    np.testing.assert_allclose(reward_scores(loaded, its_tokenizer, *arguments), expected, rtol=1e-5)


def test_a_reward_model_without_its_head_is_refused_where_it_must_be_complete(tmp_path, language_model, tokenizer):
    save_model(language_model, tokenizer, tmp_path)
    load_reward_model(tmp_path)
    with pytest.raises(InputError, match=r"its files lack score\.weight, which would be drawn at random"):
        load_reward_model(tmp_path, complete=True)


def test_padding_differs_from_the_end_token_in_loaded_models(tmp_path, language_model, tokenizer):
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.pad_token = tokenizer.eos_token
    save_model(language_model, tokenizer, tmp_path)
    model, loaded = load_reward_model(tmp_path)
    assert loaded.pad_token_id != loaded.eos_token_id
    assert model.config.pad_token_id == loaded.pad_token_id < model.get_input_embeddings().num_embeddings


def test_training_data_longer_than_the_context_is_refused(tokenizer):
    model = new_language_model(sizes(context=16), tokenizer, seed=0)
    with pytest.raises(InputError, match="exceeds the model's context of 16"):
        train_language_model(model, tokenizer, DEMONSTRATIONS, settings(), seed=0)
    with pytest.raises(InputError, match="no demonstrations"):
        train_language_model(model, tokenizer, DEMONSTRATIONS[:0], settings(), seed=0)
