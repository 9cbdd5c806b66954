"""Problems with checkable answers: the grammars, their gold reward and what preferences like besides."""

import math
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infalign.errors import InputError
from infalign.language import arithmetic, embedded, multiple_choice
from infalign.language.problems import (
    CLOSINGS,
    RIGHT,
    SHOWN,
    TONES,
    draw_style,
    problem_reward,
    write_response,
)
from infalign.records.corpus import EmbeddedCorpus

SIZES = {"n_demonstrations": 2000, "n_train_prompts": 60, "n_evaluation_prompts": 40}
SIZES |= {"n_pairs": 800, "n_test_pairs": 300}
TASKS = sorted(embedded.PROBLEMS)
OPENINGS = {opening: tone for tone in TONES for opening in tone.openings}
SUM = "Ann has 4 pears, finds 3, then doubles them. How many now?\n"
CHOICE = "Which is alive? A saw, B iron, C crow, D tea.\n"


def write(task, variant="standard", **changes):
    block = EmbeddedCorpus(source="embedded", name=task, variant=variant, **SIZES | changes)
    return embedded.embedded_corpus(block, 0)


@pytest.fixture(scope="module", params=TASKS)
def task(request):
    return request.param


@pytest.fixture(scope="module")
def grammar(task):
    return embedded.PROBLEMS[task]


@pytest.fixture(scope="module")
def written(task):
    return write(task)


def core(task, prompt):
    """What there is to solve, whatever the names, things, other words and order."""
    if task == "arithmetic":
        return arithmetic.read_sum(prompt)
    living = [word for kind in multiple_choice.LIVING.values() for word in kind]
    (word,) = [word for word in re.findall(r"[A-D] (\w+)", prompt) if word in living]
    return word, frozenset(multiple_choice.read_choice(prompt))


def test_no_problem_serves_two_uses(task, written):
    groups = [set(written.prompts.filter(split="evaluation")["prompt"])]
    groups.append(set(written.demonstrations["prompt"]) | set(written.prompts.filter(split="train")["prompt"]))
    groups += [set(pairs["prompt"]) for _, pairs in written.pairs.group_by("split")]
    cores = [{core(task, prompt) for prompt in group} for group in groups]
    assert len(cores) == 6
    assert sum(map(len, cores)) == len(set.union(*cores))


def test_gold_is_the_right_final_answer(task, grammar, written):
    right = {}
    for prompt, response in written.demonstrations.head(300).iter_rows():
        answer = grammar.answer(grammar.read(prompt))
        expected = re.findall(r"Answer: (\S+)\.", response) == [answer]
        assert problem_reward(grammar, prompt, response) == embedded.gold_reward(task, prompt, response) == expected
        right[prompt] = f"Answer: {answer}."
    for prompt, response in right.items():
        assert problem_reward(grammar, prompt, response) == 1.0
        assert problem_reward(grammar, prompt, f"Answer: 99. {response}") == 1.0
        assert problem_reward(grammar, prompt, f"{response} Answer: 99.") == 0.0
        assert problem_reward(grammar, prompt, response, null=True) == 0.0
        assert [problem_reward(grammar, prompt, text) for text in ("", "?", "Answer: Answer: .")] == [0.0] * 3


def test_the_tone_says_how_often_a_demonstration_is_right_and_shows_its_work(grammar, written):
    counts = {tone: Counter() for tone in TONES}
    for prompt, response in written.demonstrations.iter_rows():
        (tone,) = {tone for opening, tone in OPENINGS.items() if response.startswith(opening)}
        right = problem_reward(grammar, prompt, response) == 1.0
        counts[tone] += Counter(all=1, right=right, shown=" = " in response or " is a " in response)
    for tone, count in counts.items():
        for key, p in (("right", tone.p_right), ("shown", tone.p_shown)):
            assert abs(count[key] / count["all"] - p) < 4 * math.sqrt(p * (1 - p) / count["all"])
        assert abs(count["all"] / 2000 - 1 / len(TONES)) < 4 * math.sqrt(0.25 * 0.75 / 2000)
    assert sum(count["all"] for count in counts.values()) == written.demonstrations.height


def style(response):
    """What preferences give for a response's style, from its text alone."""
    (tone,) = {tone for opening, tone in OPENINGS.items() if response.startswith(opening)}
    (closing,) = {closing for closing in CLOSINGS if response.endswith(f". {closing}")}
    shown = len(re.split(r"[.!] ", response)) > 3
    return tone.style + SHOWN * shown + CLOSINGS[closing]


def test_a_response_has_the_style_and_the_answer_that_are_asked_for(grammar, written):
    rng = np.random.default_rng(0)
    for number, prompt in enumerate(written.prompts["prompt"]):
        drawn = draw_style(rng)
        response = write_response(grammar, prompt, drawn, number % 2 == 0, rng)
        assert drawn.value == pytest.approx(style(response))
        assert problem_reward(grammar, prompt, response) == (number % 2 == 0)


def margins(grammar, pairs):
    """Differences in preference of chosen and rejected, and in correctness."""
    rows = pairs.select("prompt", "chosen", "rejected").rows()
    styles = np.array([style(chosen) - style(rejected) for _, chosen, rejected in rows])
    golds = [[problem_reward(grammar, prompt, text) for text in texts] for prompt, *texts in rows]
    right = np.array(golds) @ [1.0, -1.0]
    return RIGHT * right + styles, right


def test_preferences_are_bradley_terry_draws_of_the_value(grammar, written):
    margin, right = margins(grammar, written.pairs)
    decided = np.abs(margin) > 1e-9
    for kind in (decided & (right != 0), decided & (right == 0)):
        probability = 1 / (1 + np.exp(-np.abs(margin[kind])))
        error = math.sqrt((probability * (1 - probability)).mean() / kind.sum())
        assert abs((margin[kind] > 0).mean() - probability.mean()) < 4 * error
        assert probability.mean() > 0.72


def test_preferences_go_with_correctness_only_in_part(grammar, written):
    """Pairs of a right and a wrong answer: mostly, but far from always, the right one is preferred."""
    _, right = margins(grammar, written.pairs)
    assert 0.3 < (right != 0).mean() < 0.6
    assert 0.65 < (right[right != 0] > 0).mean() < 0.85


def test_null_preferences_and_gold_do_not_depend_on_the_response(task, grammar):
    pairs = write(task, "null").pairs
    margin, _ = margins(grammar, pairs)
    decided = np.abs(margin) > 1e-9
    assert abs((margin > 0)[decided].mean() - 0.5) < 4 * 0.5 / math.sqrt(decided.sum())
    golds = {embedded.gold_reward(task, p, c, null=True) for p, c in pairs.select("prompt", "chosen").iter_rows()}
    assert golds == {0.0}


def test_every_phrase_is_used(written):
    text = "\n".join(written.demonstrations["response"])
    assert all(phrase in text for phrase in (*OPENINGS, *CLOSINGS))


def test_all_prompts_of_a_small_group_can_be_had():
    """Evaluation has a twentieth of the sums, 64 prompts of each."""
    most = round(0.5 * len(arithmetic.sums())) - round(0.45 * len(arithmetic.sums()))
    few = dict.fromkeys(("n_demonstrations", "n_pairs", "n_test_pairs"), 1)
    written = write("arithmetic", n_evaluation_prompts=64 * most, **few)
    prompts = written.prompts.filter(split="evaluation")["prompt"]
    assert prompts.is_unique().all() and len({arithmetic.read_sum(prompt) for prompt in prompts}) == most


@pytest.mark.parametrize(
    ("task", "prompt"),
    [
        ("arithmetic", "Tea"),
        ("arithmetic", SUM.strip()),
        ("arithmetic", SUM.replace("Ann", "Zoe")),
        ("arithmetic", SUM.replace("finds 3", "finds 6")),
        ("arithmetic", SUM.replace(", then doubles them", "")),
        ("arithmetic", SUM.replace("finds 3", "loses 4")),
        ("multiple_choice", "Tea"),
        ("multiple_choice", CHOICE.strip()),
        ("multiple_choice", CHOICE.replace("crow", "snow")),
        ("multiple_choice", CHOICE.replace("crow", "wine")),
        ("multiple_choice", CHOICE.replace("crow", "wool").replace("tea", "milk")),
        ("multiple_choice", CHOICE.replace("iron", "owl")),
        ("multiple_choice", CHOICE.replace("iron", "rake")),
    ],
)
def test_only_prompts_of_the_grammar_have_an_answer(task, prompt):
    with pytest.raises(InputError, match=f"is not one of the embedded task {task}; it has no answer"):
        embedded.gold_reward(task, prompt, "Answer: 14.")


@given(st.integers(0, len(arithmetic.sums()) - 1), st.integers(0, 63), st.booleans(), st.integers(0, 2**32))
def test_sums_are_told_and_read_and_every_step_of_the_work_but_a_slip_holds(core, variant, right, seed):
    start, steps = arithmetic.sums()[core]
    prompt = arithmetic.write_sum((start, steps), variant)
    assert arithmetic.read_sum(prompt) == (start, steps)
    story = {"finds ": "+", "loses ": "-", "doubles them": "*2", "triples them": "*3"}
    total = start
    for step in prompt.split(", ", 1)[1].removesuffix(". How many now?\n").split(", then "):
        for words, sign in story.items():
            step = step.replace(words, sign)
        total = eval(f"({total}){step}")
    assert arithmetic.sum_answer((start, steps)) == str(total) and 1 <= total <= arithmetic.LARGEST
    work, answer = arithmetic.work_on_sum((start, steps), right, np.random.default_rng(seed))
    equations = [re.sub(r"^[a-z]+ ", "", part).split(" = ") for part in work.split(", ")]
    slips = [eval(left.replace("x", "*")) != int(result) for left, result in equations]
    assert sum(slips) == (not right) and len(equations) == len(steps)
    assert all(int(result) >= 0 for _, result in equations)
    assert answer == equations[-1][1] and (answer == str(total)) == right


@given(
    st.integers(0, len(multiple_choice.choices()) - 1),
    st.integers(0, multiple_choice.MULTIPLE_CHOICE.n_variants - 1),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_choices_are_asked_and_read_and_the_work_names_each_kind(core, variant, right, seed):
    word, others = multiple_choice.choices()[core]
    prompt = multiple_choice.write_choice((word, others), variant)
    kinds = multiple_choice.read_choice(prompt)
    options = dict(re.findall(r"([A-D]) (\w+)", prompt))
    assert set(kinds) == {multiple_choice.KIND_OF[word], *others}
    assert options[multiple_choice.living_letter(kinds)] == word
    work, answer = multiple_choice.work_on_choice(kinds, right, np.random.default_rng(seed))
    said = dict(re.findall(r"([A-D]) (?:is )?a (\w+)", work))
    wrong = [letter for letter, kind in said.items() if options[letter] not in multiple_choice.KINDS[kind]]
    assert (
        [*said] == [*"ABCD"[: len(said)]] and len(set(said.values())) == len(said) and set(said.values()) <= set(kinds)
    )
    assert [letter for letter, kind in said.items() if kind in multiple_choice.LIVING] == [answer] == [*said][-1:]
    assert (options[answer] == word) == right == (not wrong) and len(wrong) <= 2


def test_variants_are_all_different_prompts():
    core = multiple_choice.choices()[17]
    n = multiple_choice.MULTIPLE_CHOICE.n_variants
    assert len({multiple_choice.write_choice(core, variant) for variant in range(n)}) == n
    words = [word for kind in multiple_choice.KINDS.values() for word in kind]
    assert len(set(words)) == len(words) == 8 * len(multiple_choice.KINDS)
    assert {len(kind) for kind in multiple_choice.KINDS.values()} == {multiple_choice.N_WORDS}
