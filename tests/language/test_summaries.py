"""Summaries: the grammar, its gold reward and the preferences drawn from it."""

from functools import partial

import numpy as np
import pytest

from infalign.errors import InputError
from infalign.language import embedded
from infalign.language.graded import skewed
from infalign.language.summaries import (
    N_POSTS,
    draw_summary,
    numbered_post,
    post_traits,
    read_post,
    summary_quality,
)
from infalign.language.summary_words import (
    CLOSINGS,
    COMMUNITIES,
    FILLERS,
    MOODS,
    OPENINGS,
    QUESTIONS,
    RAMBLES,
    TRAINED_COMMUNITIES,
)
from infalign.records.corpus import EmbeddedCorpus

SIZES = {"n_demonstrations": 2000, "n_train_prompts": 60, "n_evaluation_prompts": 40}
SIZES |= {"n_pairs": 800, "n_test_pairs": 300}
gold_reward = partial(embedded.gold_reward, "summaries")


def write():
    block = EmbeddedCorpus(source="embedded", name="summaries", **SIZES)
    return embedded.embedded_corpus(block, 0)


POST = "work: New here. In May my boss took my desk. I feel tired and want to wait. What now?\n"
SUMMARY = "In short: my boss just took my desk in May. I feel tired and want to wait. Thank you."


@pytest.fixture(scope="module")
def written():
    return write()


def test_two_communities_are_in_distribution_and_the_reference_knows_all(written):
    communities = {split: set(f["community"]) for (split,), f in written.prompts.group_by("split")}
    trained = set(TRAINED_COMMUNITIES)
    assert communities["train"] == communities["evaluation"] == trained
    assert communities["evaluation_out"] == set(COMMUNITIES) - trained
    for frame in (written.demonstrations, written.pairs):
        assert {read_post(prompt).community for prompt in frame["prompt"]} == set(COMMUNITIES)
    for prompt, community in written.prompts.select("prompt", "community").iter_rows():
        assert prompt.startswith(f"{community}: ")


def test_memorising_does_not_pay(written):
    assert N_POSTS > 1_000_000 and numbered_post(N_POSTS - 1) != numbered_post(0)
    assert len({read_post(post).text() for post in written.demonstrations["prompt"]}) > 0.99 * 2000
    assert written.demonstrations["response"].n_unique() > 0.99 * 2000


def test_a_post_is_read_back_from_its_text(written):
    for prompt in written.prompts["prompt"]:
        assert read_post(prompt).text() == prompt
    post = read_post(POST)
    assert (post.community, post.mood, post.time, post.person) == ("work", "New here.", "in May", "boss")
    assert (post.deed, post.feeling, post.plan, post.question) == (
        "took {my} desk",
        "tired",
        "wait",
        "What now?",
    )


def test_traits_are_those_of_the_post_s_words():
    traits = post_traits(POST)
    community = COMMUNITIES["work"]
    assert (traits.register, traits.scale) == (0, MOODS["New here."][0])
    assert traits.offset == pytest.approx(MOODS["New here."][1] + community.offset + community.people["boss"])
    assert traits.skew == QUESTIONS["What now?"]


def changed(old, new):
    """What one change in the summary adds to its quality."""
    assert old in SUMMARY
    return summary_quality(POST, SUMMARY.replace(old, new)) - summary_quality(POST, SUMMARY)


# One standard deviation of the value, from the change of an opening by a known amount.
def test_choices_are_worth_what_the_lists_say():
    unit = (OPENINGS["So:"] - OPENINGS["In short:"]) * 1.8 / changed("In short:", "So:")
    assert changed("Thank you.", "Whatever.") * unit == pytest.approx(CLOSINGS["Whatever."] - CLOSINGS["Thank you."])
    assert changed(" just", "") * unit == pytest.approx(FILLERS[""] - FILLERS["just"])
    assert changed(" Thank", " Oh well. Thank") * unit == pytest.approx(RAMBLES["Oh well"])
    assert changed("boss", "client") * unit == pytest.approx(-1.2 - 0.4)
    assert changed("took my desk", "read my mail") * unit == pytest.approx(-1.6 - 0.6)
    assert changed(" in May", "") * unit == pytest.approx(-0.3)
    assert changed("in May", "today") * unit == pytest.approx(-0.9 - 0.3)
    assert changed("feel tired and ", "") * unit == pytest.approx(-0.1 - 0.4)
    assert changed("feel tired", "feel sad") * unit == pytest.approx(-1.0 - 0.4)
    assert changed(" and want to wait", "") * unit == pytest.approx(-0.2 - 0.5)
    assert changed("to wait", "to talk") * unit == pytest.approx(-1.1 - 0.5)
    assert changed(" I feel tired and want to wait.", "") * unit == pytest.approx(-0.1 - 0.4 - 0.2 - 0.5)


def test_the_point_of_view_must_be_kept_throughout():
    theirs = SUMMARY.replace(" my", " their").replace("I feel", "They feel")
    assert (
        summary_quality(POST, SUMMARY)
        > summary_quality(POST, theirs)
        > summary_quality(POST, theirs.replace("They", "I"))
    )
    assert summary_quality(POST, theirs) > summary_quality(POST, theirs.replace("their desk", "my desk"))


def test_the_grammar_s_best_and_worst_choices_are_far_apart():
    worst = "Did not read, your client totally sold your idea today. You feel sad and want to hide. Whatever."
    assert summary_quality(POST, SUMMARY) > 1.5
    assert summary_quality(POST, worst) < -1.5


def test_gold_takes_any_summary_and_only_posts():
    for text in (
        "",
        "?",
        "a. b. c. d.",
        "Hello",
        "In short:",
        "my",
        "Yes. Yes. Yes.",
        "In short: I. I. I. Or so.",
    ):
        assert gold_reward(POST, text) < gold_reward(POST, SUMMARY)
    assert gold_reward(POST, SUMMARY) == pytest.approx(
        post_traits(POST).offset + 2.2 * skewed(summary_quality(POST, SUMMARY), -0.1)
    )
    for text in (
        "Tea",
        POST.strip(),
        POST.replace("boss", "vet"),
        POST.replace("took my desk", "lost my dog"),
    ):
        with pytest.raises(InputError, match="is not a post of the embedded task summaries"):
            gold_reward(text, SUMMARY)


def test_reward_is_spread_differently_by_prompt_and_miscalibrated(written):
    rng = np.random.default_rng(0)
    prompts = written.prompts["prompt"].sample(60, seed=0)
    rewards = np.array([[gold_reward(x, draw_summary(x, rng)) for _ in range(60)] for x in prompts])
    spread = rewards.std(axis=1)
    assert np.quantile(spread, 0.9) / np.quantile(spread, 0.1) > 8
    assert rewards.mean(axis=1).std() > 2
    ranks = (np.sort(rewards, axis=1).argsort(axis=1) + 0.5) / 60
    score = 1 / (1 + np.exp(-np.sort(rewards, axis=1)))
    assert np.abs(score - ranks).mean() >= 0.15


def test_in_and_out_of_distribution_have_the_same_kind_of_reward():
    for communities in (TRAINED_COMMUNITIES, set(COMMUNITIES) - set(TRAINED_COMMUNITIES)):
        offsets = [COMMUNITIES[c].offset + o for c in communities for o in COMMUNITIES[c].people.values()]
        assert abs(np.mean(offsets)) < 0.3
        assert 1.4 < np.std(offsets) < 2.2


def test_every_choice_is_used_in_demonstrations(written):
    text = "\n".join(written.demonstrations["response"])
    for phrases in (OPENINGS, FILLERS, RAMBLES, CLOSINGS):
        assert all(phrase in text for phrase in phrases)
