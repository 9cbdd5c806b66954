"""Classifiers as reward models: trained here on labels, or with two labels in the layout of the hub."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from film_reviews import write_reviews
from scipy.special import expit
from tiny_models import TEXTS, settings, sizes, widen
from tokenizers import Tokenizer, pre_tokenizers, processors, trainers
from tokenizers.models import WordPiece
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

from infalign.errors import InputError
from infalign.language.models import load_language_model, new_language_model, save_model
from infalign.language.reward_models import load_reward_model, reward_model_from, untrained_reward_model
from infalign.language.scoring import label_accuracy, reward_scores, sequence_rewards
from infalign.language.supervised import train_classifier
from infalign.records.task import PreferenceModel

ROOT = Path(__file__).parents[2]
LABELS = pl.DataFrame({"prompt": [TEXTS[0]] * 32, "response": TEXTS[1:] * 16, "label": [1.0, 0.0] * 16})
PROMPTS = [TEXTS[0], "Tea?\n", "Tea?\n", TEXTS[0]]
RESPONSES = ["Good luck!", "Measure the leaves twice. Good luck!", "Or not.", "Buy the cup. Goodbye."]


@pytest.fixture
def classifier(language_model, tokenizer):
    return reward_model_from(language_model, tokenizer, seed=3, learns="labels")


def word_piece():
    """A tokenizer as DistilBERT's: its own special tokens around a text, none of them an end of sequence."""
    special = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(
        [*TEXTS, *RESPONSES],
        trainers.WordPieceTrainer(vocab_size=120, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"]),
    )
    ids = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=ids)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def distilbert(n_labels=2):
    tokenizer = word_piece()
    config = DistilBertConfig(
        vocab_size=len(tokenizer), dim=16, n_layers=2, n_heads=2, hidden_dim=32, max_position_embeddings=128,
        num_labels=n_labels,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return widen(DistilBertForSequenceClassification(config)).eval(), tokenizer


@pytest.fixture
def encoder():
    return distilbert()


@pytest.fixture
def sharded(tmp_path, encoder):
    """A folder as the hub has it, the weights in several files."""
    model, tokenizer = encoder
    model.save_pretrained(tmp_path / "model", max_shard_size="8KB")
    tokenizer.save_pretrained(tmp_path / "model")
    assert len(list((tmp_path / "model").glob("model-*.safetensors"))) > 1
    return tmp_path / "model"


def alone(model, tokens) -> np.ndarray:
    """Logits of one sequence without any padding."""
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].double().numpy()


def test_the_score_is_the_probability_of_the_positive_label(classifier, tokenizer):
    scores = reward_scores(classifier, tokenizer, PROMPTS, RESPONSES)
    tokens = [
        tokenizer(prompt)["input_ids"] + tokenizer(response)["input_ids"] + [tokenizer.eos_token_id]
        for prompt, response in zip(PROMPTS, RESPONSES, strict=True)
    ]
    expected = [1 / (1 + np.exp(-alone(classifier, row)[0])) for row in tokens]
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert scores.dtype == np.float64 and len(set(scores)) == 4 and ((scores > 0) & (scores < 1)).all()


def test_sure_scores_differ_still(classifier, tokenizer):
    """In float32 the probabilities of all logits above 17 are one and the same."""
    with torch.no_grad():
        last = classifier.base_model(torch.tensor([[5, 6, 7]])).last_hidden_state[0, -1]
        classifier.score.weight.copy_(25 * last / (last @ last))
    (score,) = sequence_rewards(classifier, [[5, 6, 7]])
    assert 1 - 1e-10 < score < 1


def test_a_classifier_learns_its_labels_and_repeats_itself(tokenizer):
    scores = []
    for _ in range(2):
        start = new_language_model(sizes(), tokenizer, seed=0)
        model = reward_model_from(start, tokenizer, seed=1, learns="labels")
        train_classifier(model, tokenizer, LABELS, settings(epochs=4), seed=0)
        found = label_accuracy(model, tokenizer, LABELS)
        assert (found.accuracy, found.pair_accuracy) == (1.0, 1.0)
        scores.append(reward_scores(model, tokenizer, PROMPTS, RESPONSES))
    np.testing.assert_array_equal(*scores)


def test_a_classifier_learns_the_share_of_positive_labels(tokenizer):
    """Cross-entropy is least at the true probability, whatever the text is."""
    labels = pl.DataFrame({"prompt": [TEXTS[0]] * 64, "response": [TEXTS[1]] * 64, "label": [1.0, 1, 1, 0] * 16})
    start = new_language_model(sizes(), tokenizer, seed=0)
    model = reward_model_from(start, tokenizer, seed=1, learns="labels")
    train_classifier(model, tokenizer, labels, settings(epochs=60, batch_size=64), seed=0)
    assert reward_scores(model, tokenizer, [TEXTS[0]], [TEXTS[1]])[0] == pytest.approx(0.75, abs=0.02)


def test_held_out_facts_are_those_of_all_responses_and_all_pairs(classifier, tokenizer):
    labels = pl.DataFrame({"prompt": PROMPTS, "response": RESPONSES, "label": [1.0, 0.0, 1.0, 0.0]})
    scores = reward_scores(classifier, tokenizer, PROMPTS, RESPONSES)
    found = label_accuracy(classifier, tokenizer, labels)
    assert found.accuracy == np.mean((scores > 0.5) == [True, False, True, False])
    assert found.pair_accuracy == np.mean([scores[i] > scores[j] for i in (0, 2) for j in (1, 3)])
    with torch.no_grad():
        classifier.score.weight.zero_()
    tied = label_accuracy(classifier, tokenizer, labels)
    assert (tied.accuracy, tied.pair_accuracy) == (0.5, 0.5)


def test_a_saved_classifier_comes_back_as_it_was(tmp_path, classifier, tokenizer):
    save_model(classifier, tokenizer, tmp_path)
    loaded, its_tokenizer = load_reward_model(tmp_path)
    scores = [reward_scores(m, t, PROMPTS, RESPONSES) for m, t in ((classifier, tokenizer), (loaded, its_tokenizer))]
    np.testing.assert_array_equal(*scores)


def test_an_encoder_with_two_labels_in_several_files(sharded, encoder):
    model, tokenizer = load_reward_model(sharded)
    original, its_tokenizer = encoder
    scores = reward_scores(model, tokenizer, PROMPTS, RESPONSES)
    for prompt, response, score in zip(PROMPTS, RESPONSES, scores, strict=True):
        tokens = its_tokenizer(prompt + response)["input_ids"]
        assert tokens[0] == its_tokenizer.cls_token_id and tokens[-1] == its_tokenizer.sep_token_id
        exponentials = np.exp(alone(original, tokens))
        assert score == pytest.approx(exponentials[1] / exponentials.sum(), abs=1e-5)
    assert scores.dtype == np.float64 and np.ptp(scores) > 0.01


@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize("kind", ["encoder", "causal"])
def test_scores_do_not_depend_on_batch_or_order(kind, batch_size, sharded, classifier, tokenizer):
    model, its_tokenizer = load_reward_model(sharded) if kind == "encoder" else (classifier, tokenizer)
    whole = reward_scores(model, its_tokenizer, PROMPTS, RESPONSES, batch_size=4)
    back = reward_scores(model, its_tokenizer, PROMPTS[::-1], RESPONSES[::-1], batch_size=batch_size)
    np.testing.assert_allclose(whole, back[::-1], atol=1e-5)
    assert len(set(whole)) == 4


def test_an_encoder_scores_texts_that_were_cut_off_like_others(sharded):
    """It has no end-of-sequence token that a response could lack."""
    model, tokenizer = load_reward_model(sharded)
    scores = [reward_scores(model, tokenizer, PROMPTS, RESPONSES, finished=[end] * 4) for end in (True, False)]
    np.testing.assert_array_equal(*scores)
    assert reward_scores(model, tokenizer, [], []).shape == (0,)


def test_a_causal_classifier_with_two_labels(tmp_path, language_model, tokenizer):
    config = type(language_model.config)(**{**language_model.config.to_dict(), "num_labels": 2})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        original = widen(LlamaForSequenceClassification(config), 8.0).eval()
    save_model(original, tokenizer, tmp_path)
    model, its_tokenizer = load_reward_model(tmp_path)
    tokens = tokenizer(PROMPTS[0])["input_ids"] + tokenizer(RESPONSES[0])["input_ids"]
    score = reward_scores(model, its_tokenizer, PROMPTS[:1], RESPONSES[:1], finished=[False])[0]
    negative, positive = alone(original, tokens)
    assert score == pytest.approx(expit(positive - negative), abs=1e-5)
    assert score != pytest.approx(0.5, abs=1e-3)


def test_a_language_model_becomes_a_reward_model_with_one_label(tmp_path, language_model, tokenizer):
    """Its files say nothing of labels, and two is only what a configuration has by default."""
    save_model(language_model, tokenizer, tmp_path)
    model, _ = load_reward_model(tmp_path)
    assert model.score.out_features == 1


def test_bad_input_is_named(tmp_path, sharded, reward_model, classifier, tokenizer):
    model, its_tokenizer = distilbert(3)
    save_model(model, its_tokenizer, tmp_path / "three")
    with pytest.raises(InputError, match=r"reward model .*three has 3 labels; give one with one label"):
        load_reward_model(tmp_path / "three")
    with pytest.raises(InputError, match="one or two labels, got DistilBertForSequenceClassification with 3"):
        reward_scores(model, its_tokenizer, PROMPTS, RESPONSES)
    with pytest.raises(InputError, match=r"could not be loaded: .*DistilBertConfig.*; check its name, its kind"):
        load_language_model(sharded)
    with pytest.raises(InputError, match="exceeds the model's context of 128"):
        reward_scores(*load_reward_model(sharded), ["tea " * 150], ["Good."])
    with pytest.raises(InputError, match="must give a probability: train it on them"):
        label_accuracy(reward_model, tokenizer, LABELS)
    with pytest.raises(InputError, match="needs responses with both labels, got 3 positive of 3"):
        label_accuracy(classifier, tokenizer, LABELS.filter(label=1.0).head(3))
    with pytest.raises(InputError, match="no labelled responses"):
        train_classifier(classifier, tokenizer, LABELS[:0], settings(), seed=0)


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SMALL = {"from_config": {"hidden_size": 16, "n_layers": 1, "n_heads": 2, "intermediate_size": 32, "context": 128}}
TRAINING = {"learning_rate": 1e-2, "epochs": 4, "batch_size": 16}
TASK = {
    "corpus": {
        "source": "reviews", "n_train_prompts": 8, "n_evaluation_prompts": 4, "n_demonstrations": 50,
        "n_labelled": 80, "n_test_labelled": 6, "max_prompt_tokens": 32, "max_response_tokens": 48,
        "too_long": "truncate_left",
    },
    "vocabulary_size": 400,
    "reference": {"base": SMALL},
    "reward_model": {"base": SMALL, "learns": "labels", "training": TRAINING},
    "judge": {"base": SMALL, "learns": "labels", "training": TRAINING},
    "rollouts": {"max_new_tokens": 48},
}  # fmt: skip


def test_from_files_to_classifiers(tmp_path, sharded):
    """The two scripts, with a classifier trained from scratch and with one that is taken as it is."""
    data = tmp_path / "data"
    root = write_reviews(tmp_path / "reviews")
    script("prepare_data").prepare_data(task=json.dumps(TASK), out=data, data_root=root)
    assert pl.read_parquet(data / "pairs.parquet").is_empty()
    assert pl.read_parquet(data / "labels.parquet").height == 2 * (80 + 6)
    counts = json.loads((data / "manifest.json").read_text())["counts"]
    assert counts["labelled_read"] == 400 and counts["labels_response_shortened"] > 0

    def train(split, block):
        out = tmp_path / split
        script("train_preference_model").train_preference_model(
            data / "pairs.parquet",
            labels=data / "labels.parquet",
            split=split,
            demonstrations=data / "demonstrations.parquet",
            tokenizer=data / "tokenizer",
            reference=tmp_path / "none",
            settings=json.dumps(block),
            seed=0,
            out=out,
        )
        return load_reward_model(out), json.loads((out / "manifest.json").read_text())

    (model, tokenizer), facts = train("reward", TASK["reward_model"])
    scores = reward_scores(
        model, tokenizer, ["This film"] * 2, [" A joy from start to end.", " A bore from start to end."]
    )
    assert scores[0] > scores[1]
    assert facts["held_out_accuracy"] >= 0.5 and facts["held_out_pair_accuracy"] > 0.7
    (model, tokenizer), facts = train("judge", {"base": {"path": str(sharded)}, "learns": "labels"})
    np.testing.assert_array_equal(
        reward_scores(model, tokenizer, PROMPTS, RESPONSES),
        reward_scores(*load_reward_model(sharded), PROMPTS, RESPONSES),
    )
    assert 0 <= facts["held_out_accuracy"] <= 1


def test_a_reward_model_that_is_not_trained_keeps_its_head(tmp_path, reward_model, tokenizer):
    save_model(reward_model, tokenizer, tmp_path)
    block = PreferenceModel(base={"path": str(tmp_path)})
    model, its_tokenizer = untrained_reward_model(block, *[tmp_path / "none"] * 3, seed=0)
    scores = [reward_scores(*pair, PROMPTS, RESPONSES) for pair in ((reward_model, tokenizer), (model, its_tokenizer))]
    np.testing.assert_array_equal(*scores)
