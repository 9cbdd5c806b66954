"""TRL's RLOO trainer on policies small enough to be listed whole."""

import json
import math
import random
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from test_ppo import distance_and_share, exact_gradient, weights
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from toy import destination, online_task
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from infalign.alignment import rloo
from infalign.alignment.batches import OnlineTask
from infalign.alignment.training import TrainingDiverged, prompt_rows
from infalign.errors import InputError
from infalign.records.methods import RLOOSettings

FAST = {
    "updates": 40,
    "prompts_per_update": 2,
    "samples_per_prompt": 128,
    "learning_rate": 0.003,
}
SHORT = FAST | {"updates": 3, "samples_per_prompt": 4}


@pytest.fixture
def folder(toy, tmp_path):
    toy.reference.save_pretrained(tmp_path / "reference")
    return tmp_path / "reference"


def train(toy, objective, folder, name="run", score=None, seed=0, **settings):
    task = online_task(toy, score, seed)
    return rloo.train_rloo(folder, task, objective, RLOOSettings(**settings), destination(folder.parent, name))


def make_trainer(folder, tokenizer, prompts, objective, score, temperature=1.0, longest=3, **settings):
    policy = AutoModelForCausalLM.from_pretrained(folder)
    task = OnlineTask(tokenizer, prompts, score, 0, longest, temperature)
    return rloo.new_trainer(policy, task, objective, RLOOSettings(**settings), str(folder.parent / "trl"))


def sample(trainer, prompts, samples):
    """One batch as TRL makes it, its rows grouped by prompt; the policy has first left the reference."""
    with torch.no_grad():
        trainer.model.lm_head.weight.mul_(0.5)
    trainer.model.train()
    return trainer._generate_and_score_completions(
        [row for row in prompts.iter_rows(named=True) for _ in range(samples)]
    )


def test_policy_approaches_the_tilt_of_its_reward(toy, toy_objective, folder):
    train(toy, toy_objective, folder, **FAST)
    policy = AutoModelForCausalLM.from_pretrained(folder.parent / "run")
    distance, share = distance_and_share(toy, toy_objective, policy)
    assert share > 0.98
    assert distance < 0.01


def test_first_gradient_is_the_exact_gradient_of_the_objective(toy, toy_objective, folder):
    """With many samples it approaches that of the enumerated objective: no length or ratio weighs in."""
    trainer = make_trainer(
        folder, toy.tokenizer, toy.prompts, toy_objective, toy.score, **FAST | {"samples_per_prompt": 4096}
    )
    batch = sample(trainer, toy.prompts, 4096)
    trainer._compute_loss(trainer.model, batch).backward()
    sampled = trainer.model.lm_head.weight.grad.clone()
    exact = exact_gradient(toy, toy_objective, trainer.model)
    assert torch.linalg.norm(sampled - exact) < 0.1 * torch.linalg.norm(exact)


def test_log_probabilities_of_left_padded_prompts_are_exact(toy, toy_objective, folder):
    """The toy has absolute position embeddings and prompts of one and two tokens."""
    trainer = make_trainer(folder, toy.tokenizer, toy.prompts, toy_objective, toy.score, **SHORT)
    batch = sample(trainer, toy.prompts, 4)
    known = {prompt: toy.log_probs(trainer.model, prompt) for prompt in toy.prompts["prompt"]}
    for row, prompt in enumerate(toy.prompts["prompt"].repeat_by(4).explode()):
        length = int(batch["completion_mask"][row].sum())
        response = batch["completion_ids"][row, :length].tolist()
        expected = known[prompt][toy.responses.index(response)]
        assert batch["old_logps"][row].item() == pytest.approx(expected, abs=1e-5)


def two_token_policy(folder):
    """Says `a` or ends; the responses of one token are the whole space."""
    words = Tokenizer(models.WordLevel({"a": 0, "</s>": 1}, unk_token="a"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    torch.manual_seed(2)
    config = GPT2Config(vocab_size=2, n_embd=8, n_layer=1, n_head=1, n_positions=4, initializer_range=0.5)
    GPT2LMHeadModel(config).save_pretrained(folder)
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>", pad_token="</s>")


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_leave_one_out_advantages_by_hand_on_two_tokens(tmp_path, temperature):
    folder, beta, n = tmp_path / "reference", 0.3, 6
    tokenizer = two_token_policy(folder)
    prompts = pl.DataFrame({"prompt_id": ["one", "two"], "prompt": ["a", "a a"]})
    objective = SimpleNamespace(beta=beta, values=lambda ids, rewards: rewards)
    trainer = make_trainer(
        folder, tokenizer, prompts, objective,
        lambda texts, responses, finished: np.array([2.0 if response == "a" else -1.0 for response in responses]),
        temperature, longest=1, updates=1, prompts_per_update=2, samples_per_prompt=n,
    )  # fmt: skip
    batch = sample(trainer, prompts, n)
    for group, prompt in enumerate(([0], [0, 0])):
        rows = slice(group * n, (group + 1) * n)
        log_p, log_q = (
            (model(torch.tensor([prompt])).logits[0, -1] / temperature).log_softmax(-1).tolist()
            for model in (trainer.model, trainer.ref_model)
        )
        worth = [2.0 - beta * (log_p[0] - log_q[0]), -1.0 - beta * (log_p[1] - log_q[1])]
        returns = [worth[token] for token in batch["completion_ids"][rows, 0].tolist()]
        by_hand = [own - (sum(returns) - own) / (n - 1) for own in returns]
        assert batch["advantages"][rows].tolist() == pytest.approx(by_hand, abs=1e-5)
        assert len(set(returns)) == 2  # both responses were drawn


def test_repetition_is_bit_identical_whatever_the_generators(toy, toy_objective, folder):
    torch.manual_seed(1)
    one_log = train(toy, toy_objective, folder, "one", **SHORT)
    torch.manual_seed(2), random.seed(2), np.random.seed(2)  # noqa: NPY002
    expected = torch.rand(1).item(), random.random(), np.random.rand()  # noqa: NPY002
    torch.manual_seed(2), random.seed(2), np.random.seed(2)  # noqa: NPY002
    other_log = train(toy, toy_objective, folder, "other", **SHORT)
    assert (torch.rand(1).item(), random.random(), np.random.rand()) == expected  # noqa: NPY002
    assert one_log.drop("seconds").equals(other_log.drop("seconds"))
    one, other = weights(folder.parent / "one"), weights(folder.parent / "other")
    assert all(torch.equal(one[name], other[name]) for name in one)
    train(toy, toy_objective, folder, "another", seed=1, **SHORT)
    assert not torch.equal(one["transformer.wte.weight"], weights(folder.parent / "another")["transformer.wte.weight"])


def test_chunk_size_does_not_change_the_policy(toy, toy_objective, folder):
    settings = SHORT | {"updates": 1, "samples_per_prompt": 6, "adam_epsilon": 1e-3}
    logs = [train(toy, toy_objective, folder, str(size), **settings | {"chunk_size": size}) for size in (5, 12)]
    assert logs[0].height == logs[1].height == 1
    few, all_at_once = weights(folder.parent / "5"), weights(folder.parent / "12")
    assert all(torch.allclose(few[name], all_at_once[name], atol=1e-6) for name in few)
    assert logs[0]["gradient_norm"][0] == pytest.approx(logs[1]["gradient_norm"][0], rel=1e-4)


@pytest.mark.parametrize("chunk_size", [3, 256])
def test_every_update_scores_one_batch_of_the_prompts_of_ppo(toy, toy_objective, folder, chunk_size):
    seen = []

    def score(prompts, responses, finished):
        seen.append((prompts, responses, finished))
        return toy.score(prompts, responses, finished)

    settings = SHORT | {"prompts_per_update": 3, "samples_per_prompt": 2, "updates": 5}
    log = train(toy, toy_objective, folder, score=score, **settings | {"chunk_size": chunk_size})
    assert log["step"].to_list() == list(range(5)) and len(seen) == 5
    texts = toy.prompts["prompt"].to_list()
    for step, (prompts, responses, finished) in enumerate(seen):
        expected = [texts[row] for row in prompt_rows(2, 3, seed=0, step=step) for _ in range(2)]
        assert prompts == expected
        assert finished == [len(response.split()) < 3 for response in responses]  # three tokens: cut
        assert log["finished"][step] == pytest.approx(np.mean(finished))


def test_first_update_is_of_the_reference(toy, toy_objective, folder):
    log = train(toy, toy_objective, folder, **SHORT | {"updates": 2})
    assert abs(log["kl"][0]) < 1e-6 < abs(log["kl"][1])
    assert log["objective"].to_list() == pytest.approx((log["value"] - toy_objective.beta * log["kl"]).to_list())
    spread = (log["reward"] - toy_objective.center) / toy_objective.spread
    assert log["value"].to_list() == pytest.approx(spread.to_list(), rel=1e-5)
    assert log["learning_rate"].to_list() == pytest.approx([0.003, 0.0015])


def test_kl_in_the_log_is_the_mean_log_ratio_of_the_responses_drawn(toy, toy_objective, folder):
    drawn = []

    def score(prompts, responses, finished):
        drawn.append(list(zip(prompts, responses, strict=True)))
        return toy.score(prompts, responses, finished)

    settings = SHORT | {"schedule": "constant"}
    train(toy, toy_objective, folder, "one", **settings | {"updates": 1})
    log = train(toy, toy_objective, folder, "two", score, **settings | {"updates": 2})
    policy = AutoModelForCausalLM.from_pretrained(folder.parent / "one")
    texts = toy.tokenizer.batch_decode(toy.responses, skip_special_tokens=True)
    ratios = {
        prompt: toy.log_probs(policy, prompt) - toy.log_probs(toy.reference, prompt) for prompt in toy.prompts["prompt"]
    }
    expected = np.mean([ratios[prompt][texts.index(response)] for prompt, response in drawn[-1]])
    assert log["kl"][1] == pytest.approx(expected, abs=1e-5)


def test_the_reference_stays_frozen(toy, toy_objective, folder):
    trainer = make_trainer(folder, toy.tokenizer, toy.prompts, toy_objective, toy.score, **SHORT)
    trainer.train()
    trained, reference, start = (m.state_dict() for m in (trainer.model, trainer.ref_model, toy.reference))
    assert all(torch.equal(reference[name], start[name]) for name in start)
    assert not torch.equal(trained["transformer.wte.weight"], start["transformer.wte.weight"])


def test_a_tokenizer_that_ends_its_texts_does_not_end_the_prompts(toy, toy_objective, folder):
    toy.tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 3)]
    )
    assert toy.tokenizer("b b")["input_ids"] == [1, 1, 3]
    trainer = make_trainer(folder, toy.tokenizer, toy.prompts, toy_objective, toy.score, **SHORT)
    assert trainer._tokenize_prompts(["a", "b b"]) == ([[0], [1, 1]], None, {})


def test_generation_settings_of_the_folder_do_not_shape_the_draws(toy, toy_objective, folder):
    plain = train(toy, toy_objective, folder, "plain", **SHORT)
    told = json.loads((folder / "generation_config.json").read_text())
    told |= {
        "top_k": 1,
        "temperature": 0.1,
        "do_sample": True,
        "no_repeat_ngram_size": 1,
        "eos_token_id": [3, 0],
    }
    (folder / "generation_config.json").write_text(json.dumps(told))
    assert train(toy, toy_objective, folder, "told", **SHORT).drop("seconds").equals(plain.drop("seconds"))


def test_policy_is_saved_as_the_reference_was(toy, toy_objective, folder):
    train(toy, toy_objective, folder, **SHORT | {"updates": 1})
    names = {path.name for path in (folder.parent / "run").iterdir()}
    assert "model.safetensors" in names and not {n for n in names if n.endswith((".bin", ".pt", ".pkl"))}
    one, other = (json.loads((path / "config.json").read_text()) for path in (folder, folder.parent / "run"))
    assert one == other


def test_log_is_a_table_of_numbers(toy, toy_objective, folder):
    log = train(toy, toy_objective, folder, **SHORT)
    assert log.height == 3 and all(dtype.is_numeric() for dtype in log.dtypes)
    assert log.select(pl.all().is_finite().all()).row(0) == (True,) * log.width


def test_reward_that_is_not_finite_is_named(toy, toy_objective, folder):
    def broken(prompts, responses, finished):
        return np.where(np.arange(len(prompts)) == 5, np.nan, 0.0)

    with pytest.raises(InputError) as caught:
        train(toy, toy_objective, folder, score=broken, **SHORT)
    prompt_id = toy.prompts["prompt_id"][int(prompt_rows(2, 2, seed=0, step=0)[1])]
    assert str(caught.value) == (
        f"the reward of 1 of 8 responses at update 0 is not finite: got nan for prompt_id {prompt_id!r}; "
        "check the reward model"
    )


def test_value_that_is_not_finite_is_named(toy, folder):
    objective = SimpleNamespace(beta=1.0, values=lambda ids, rewards: np.full(len(ids), -math.inf))
    with pytest.raises(InputError, match=r"the value of 8 of 8 responses at update 0 is not finite: got -inf"):
        train(toy, objective, folder, **SHORT)


def test_divergence_names_update_and_cause(toy, toy_objective, folder):
    with pytest.raises(TrainingDiverged) as caught:
        train(toy, toy_objective, folder, **SHORT | {"learning_rate": 1e30})
    message = str(caught.value)
    assert "rloo diverged at update" in message and "is not finite" in message
    assert "no checkpoint was made (rloo keeps none)" in message
    assert "learning rate (1e+30) is too high" in message and "lower rloo.learning_rate" in message


def test_tokenizer_of_another_model_is_an_input_error(toy, toy_objective, folder):
    toy.tokenizer.add_special_tokens({"pad_token": "<pad>"})
    with pytest.raises(InputError, match="the tokenizer has 5 tokens, the reference policy only 4"):
        train(toy, toy_objective, folder, **SHORT)


def test_prompts_that_are_missing_or_too_long_are_input_errors(toy, toy_objective, folder):
    toy.prompts = pl.DataFrame({"prompt_id": ["long"], "prompt": ["a a a a a a"]})
    with pytest.raises(InputError, match="the longest prompt has 6 tokens, which with 3 new tokens exceeds"):
        train(toy, toy_objective, folder, **SHORT)
    toy.prompts = toy.prompts.clear()
    with pytest.raises(InputError, match="the training needs at least one training prompt, got none"):
        train(toy, toy_objective, folder, **SHORT)
