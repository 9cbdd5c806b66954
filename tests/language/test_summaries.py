import math

import numpy as np
import polars as pl
import pytest

from infalign.errors import InputError
from infalign.language import corpora, embedded
from infalign.language.models import encode_prompts, encode_responses, train_tokenizer
from infalign.language.summaries import (
    CLOSINGS,
    COMMUNITIES,
    FILLERS,
    MOODS,
    OPENINGS,
    QUESTIONS,
    RAMBLES,
    TRAINED_COMMUNITIES,
    gold_reward,
    n_posts,
    post_traits,
    quality,
    read_post,
    summaries_corpus,
    write_summary,
)

SIZES = {
    "n_demonstrations": 2000,
    "n_train_prompts": 60,
    "n_evaluation_prompts": 40,
    "n_evaluation_out_prompts": 120,
    "n_pairs": 800,
    "n_test_pairs": 300,
}
POST = "work: New here. In May my boss took my desk. I feel tired and want to wait. What now?\n"
SUMMARY = "In short: my boss just took my desk in May. I feel tired and want to wait. Thank you."


@pytest.fixture(scope="module")
def written():
    return summaries_corpus(0, **SIZES)


def test_same_seed_same_corpus_other_seed_another(written):
    again, other = summaries_corpus(0, **SIZES), summaries_corpus(1, **SIZES)
    for name in ("demonstrations", "pairs", "prompts"):
        assert getattr(written, name).equals(getattr(again, name))
        assert not getattr(written, name).equals(getattr(other, name))


def test_a_larger_part_leaves_the_other_parts_as_they_are(written):
    larger = summaries_corpus(0, **{**SIZES, "n_demonstrations": 2100, "n_pairs": 900})
    assert larger.prompts.equals(written.prompts)
    held_out = pl.col("split").is_in(["reward_test", "judge_test"])
    assert larger.pairs.filter(held_out).equals(written.pairs.filter(held_out))


def test_sizes_and_columns(written):
    assert written.demonstrations.columns == ["prompt", "response"]
    assert written.pairs.columns == ["prompt", "chosen", "rejected", "rejected_prompt", "split"]
    assert written.prompts.columns == ["prompt_id", "prompt", "split", "community"]
    splits = dict(written.prompts["split"].value_counts().iter_rows())
    assert splits == {"train": 60, "evaluation": 40, "evaluation_out": 120}
    counts = dict(written.pairs["split"].value_counts().iter_rows())
    assert counts == {"reward_train": 800, "reward_test": 300, "judge_train": 800, "judge_test": 300}
    assert written.prompts["prompt_id"].is_unique().all()
    assert written.prompts["prompt"].is_unique().all()


def test_prompts_of_all_uses_are_disjoint(written):
    prompts = {split: set(frame["prompt"]) for (split,), frame in written.prompts.group_by("split")}
    groups = [prompts["evaluation"], prompts["evaluation_out"]]
    groups.append(prompts["train"] | set(written.demonstrations["prompt"]))
    for _, pairs in written.pairs.group_by("split"):
        groups.append(set(pairs["prompt"]) | set(pairs["rejected_prompt"]))
    assert len(groups) == 7
    assert sum(map(len, groups)) == len(set.union(*groups))


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
    assert n_posts() > 1_000_000
    assert len({read_post(post).text() for post in written.demonstrations["prompt"]}) > 0.99 * 2000
    assert written.demonstrations["response"].n_unique() > 0.99 * 2000


def test_texts_are_short_and_plain(written):
    texts = (written.demonstrations["prompt"] + written.demonstrations["response"]).to_list()
    tokenizer = train_tokenizer(texts, 512)
    prompts = encode_prompts(tokenizer, written.demonstrations["prompt"].to_list())
    responses = encode_responses(tokenizer, written.demonstrations["response"].to_list())
    assert all(text.isascii() for text in texts)
    assert max(map(len, prompts)) <= 40
    assert max(map(len, responses)) <= 40
    assert np.quantile([len(r) for r in responses], 0.9) <= 32


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
    return quality(POST, SUMMARY.replace(old, new)) - quality(POST, SUMMARY)


# One standard deviation of the value, from the change of an opening by a known amount.
def test_choices_are_worth_what_the_lists_say():
    unit = (OPENINGS["So:"] - OPENINGS["In short:"]) * 1.8 / changed("In short:", "So:")
    assert changed("Thank you.", "Whatever.") * unit == pytest.approx(
        CLOSINGS["Whatever."] - CLOSINGS["Thank you."]
    )
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
    assert quality(POST, SUMMARY) > quality(POST, theirs) > quality(POST, theirs.replace("They", "I"))
    assert quality(POST, theirs) > quality(POST, theirs.replace("their desk", "my desk"))


def test_the_grammar_s_best_and_worst_choices_are_far_apart():
    worst = "Did not read, your client totally sold your idea today. You feel sad and want to hide. Whatever."
    assert quality(POST, SUMMARY) > 1.5
    assert quality(POST, worst) < -1.5


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
        post_traits(POST).offset + 2.2 * corpora.skewed(quality(POST, SUMMARY), -0.1)
    )
    for text in (
        "Tea",
        POST.strip(),
        POST.replace("boss", "vet"),
        POST.replace("took my desk", "lost my dog"),
    ):
        with pytest.raises(InputError, match="is not a post of the embedded task summaries"):
            gold_reward(text, SUMMARY)


def test_quality_is_standardised_over_the_grammar(written):
    values = [quality(*row) for row in written.demonstrations.iter_rows()]
    assert np.mean(values) == pytest.approx(0.0, abs=0.1)
    assert np.std(values) == pytest.approx(1.0, abs=0.05)


def test_reward_is_spread_differently_by_prompt_and_miscalibrated(written):
    rng = np.random.default_rng(0)
    prompts = written.prompts["prompt"].sample(60, seed=0)
    rewards = np.array([[gold_reward(x, write_summary(x, rng)) for _ in range(60)] for x in prompts])
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


def margins(pairs):
    return np.array(
        [
            gold_reward(p, chosen) - gold_reward(other, rejected)
            for p, chosen, rejected, other, _ in pairs.iter_rows()
        ]
    )


def test_preferences_are_bradley_terry_draws_of_the_gold_reward(written):
    margin = margins(written.pairs)
    probability = 1 / (1 + np.exp(-np.abs(margin)))
    agree = (margin > 0).mean()
    standard_error = math.sqrt((probability * (1 - probability)).mean() / len(margin))
    assert abs(agree - probability.mean()) < 4 * standard_error
    assert probability.mean() > 0.76
    assert 0.25 < (written.pairs["prompt"] != written.pairs["rejected_prompt"]).mean() < 0.35


def test_null_labels_and_gold_do_not_depend_on_the_summary():
    pairs = summaries_corpus(0, **SIZES, null=True).pairs
    agree = (margins(pairs) > 0).mean()
    assert abs(agree - 0.5) < 4 * 0.5 / math.sqrt(len(pairs))
    assert gold_reward(POST, SUMMARY, null=True) == gold_reward(POST, "", null=True)


def test_every_choice_is_used_in_demonstrations(written):
    text = "\n".join(written.demonstrations["response"])
    for phrases in (OPENINGS, FILLERS, RAMBLES, CLOSINGS):
        assert all(phrase in text for phrase in phrases)


def test_too_many_prompts_are_refused_by_name():
    with pytest.raises(
        InputError, match=r"n_evaluation_out_prompts must be at most \d+, got 90000; lower it"
    ):
        summaries_corpus(0, **{**SIZES, "n_evaluation_out_prompts": 90_000})


def test_embedded_finds_each_corpus_by_name(written):
    assert embedded.corpus("summaries", 0, **SIZES).pairs.equals(written.pairs)
    assert embedded.gold_reward("summaries", POST, SUMMARY) == gold_reward(POST, SUMMARY)
    sizes = {name: size for name, size in SIZES.items() if name != "n_evaluation_out_prompts"}
    assert embedded.corpus("helpful", 0, **sizes).prompts.equals(
        corpora.corpus("helpful", 0, **sizes).prompts
    )
    tea = "Hello, how do I brew tea?\n"
    assert embedded.gold_reward("helpful", tea, "Who cares.") == corpora.gold_reward(
        "helpful", tea, "Who cares."
    )
    with pytest.raises(InputError, match="unknown embedded task 'chess'"):
        embedded.gold_reward("chess", tea, "")
