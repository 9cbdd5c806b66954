"""Dialogues: the grammar, its gold reward and the preferences drawn from it."""

import re

import numpy as np
import pytest
from scipy.stats import spearmanr

from infalign.language.dialogues import dialogue_quality, dialogue_traits, draw_answer
from infalign.language.embedded import embedded_corpus, gold_reward
from infalign.language.graded import skewed
from infalign.language.lexicon import LEXICONS
from infalign.records.corpus import EmbeddedCorpus

SIZES = {"n_demonstrations": 1500, "n_train_prompts": 60, "n_evaluation_prompts": 40}
SIZES |= {"n_pairs": 1500, "n_test_pairs": 400}


def write(task):
    return embedded_corpus(EmbeddedCorpus(source="embedded", name=task, **SIZES), 0)


@pytest.fixture(scope="module", params=sorted(LEXICONS))
def task(request):
    return request.param


@pytest.fixture(scope="module")
def written(task):
    return write(task)


def test_gold_needs_nothing_but_the_two_texts(task, written):
    rows = list(written.demonstrations.head(50).iter_rows())
    first = [gold_reward(task, *row) for row in rows]
    assert first == [gold_reward(task, *row) for row in reversed(rows)][::-1]
    assert all(np.isfinite(gold_reward(task, rows[0][0], text)) for text in ("", "?", "a. b. c. d.", "Hello"))


def test_gold_is_offset_and_scale_times_the_bent_quality(task):
    words = LEXICONS[task]
    prompt = next(iter(words.tones)) + next(iter(words.asks)).format(topic=next(iter(words.topics))) + "?\n"
    traits = dialogue_traits(task, prompt)
    rng = np.random.default_rng(0)
    for response in (draw_answer(task, prompt, rng) for _ in range(20)):
        bent = skewed(dialogue_quality(task, prompt, response), traits.skew)
        assert gold_reward(task, prompt, response) == traits.offset + traits.scale * bent


def test_directions_are_shared_but_nouns_must_be_to_the_point():
    tea, bread = ("Hello, how do I brew tea?\n", "Hello, how do I bake bread?\n")
    good = "Happy to help! Measure the kettle step by step. Good luck!"
    for prompt in (tea, bread):
        worse = good.replace("Happy to help!", "Not you again.")
        assert dialogue_quality("helpful", prompt, good) > dialogue_quality("helpful", prompt, worse)
    assert dialogue_quality("helpful", tea, good) > dialogue_quality("helpful", bread, good)


def test_a_second_piece_of_advice_counts_and_a_third_costs():
    prompt = "Hello, how do I brew tea?\n"
    one = "Sure thing. Check the kettle right away. Good luck!"
    two = one.replace(" Good", " Then prepare the leaves step by step. Good")
    three = two.replace(" Good", " Also prepare the cup step by step. Good")
    values = [dialogue_quality("helpful", prompt, text) for text in (one, two, three)]
    assert values[1] > values[0]
    assert values[2] < values[1]


def test_skewed_is_standardised_and_increasing():
    normal = np.random.default_rng(0).standard_normal(200_000)
    for skew in (-0.6, 0.0, 0.4):
        bent = np.array([skewed(q, skew) for q in normal])
        assert bent.mean() == pytest.approx(0.0, abs=0.02)
        assert bent.std() == pytest.approx(1.0, abs=0.05)
        assert np.sign(round(((bent - bent.mean()) ** 3).mean(), 1)) == np.sign(skew)
        assert spearmanr(bent, normal).statistic == pytest.approx(1.0)


def test_scales_and_skews_differ_between_prompts(task):
    traits = [dialogue_traits(task, p) for p in write(task).prompts["prompt"]]
    assert max(t.scale for t in traits) / min(t.scale for t in traits) > 10
    assert len({t.skew for t in traits}) >= 5
    assert np.std([t.offset for t in traits]) > 1


def test_every_slot_is_used_in_demonstrations(task, written):
    words, text = LEXICONS[task], "\n".join(written.demonstrations["response"])
    for slot in (words.openings, words.manners, words.reasons, words.closings):
        assert all(phrase in text for phrase in slot)
    assert all(re.search(rf"\b{verb}\b", text) for verb in words.verbs)
