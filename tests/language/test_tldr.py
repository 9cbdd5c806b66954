"""TL;DR: posts split by subreddit, pairs cut by post, and files in the hub's layout."""

import sys
from types import SimpleNamespace

import polars as pl
import pytest

from infalign.errors import InputError
from infalign.language.context import fit_to_context, take_prompts
from infalign.language.tldr import PAIR_SHARES, read_summaries

IN, OUT = ("relationships", "relationship_advice"), ("pets", "travel")


def post(subreddit: str, number: int) -> str:
    return f"SUBREDDIT: r/{subreddit}\n\nTITLE: Title {number}\n\nPOST: A post, number {number}.\n\nTL;DR:"


def posts(subreddits, numbers) -> pl.DataFrame:
    prompts = [post(name, number) for name in subreddits for number in numbers]
    return pl.DataFrame({"prompt": prompts, "completion": [f" Summary of {p[-20:-8]}" for p in prompts]})


TRAIN, TEST = posts(IN + OUT, range(10)), posts(IN + OUT, range(1000, 1005))


def pairs() -> pl.DataFrame:
    """Two pairs for each of 400 posts, one about a news article, one about a test post, one of equal summaries."""
    prompts = [post("relationships", number) for number in range(400)]
    rows = [(prompt, " Good.", f" Bad {i}.") for prompt in prompts for i in range(2)]
    rows += [
        ("TITLE: News\n\nText.\n\nTL;DR:", " a", " b"),
        (TEST["prompt"][0], " a", " b"),
        (prompts[0], " a", " a "),
    ]
    return pl.DataFrame(rows, schema=["prompt", "chosen", "rejected"], orient="row")


def write(folder, frame, name):
    (folder / "data").mkdir(parents=True, exist_ok=True)
    frame.write_parquet(folder / "data" / name)


@pytest.fixture
def data_root(tmp_path):
    write(tmp_path / "tldr", TRAIN[:15], "train-00000-of-00002.parquet")
    write(tmp_path / "tldr", TRAIN[15:], "train-00001-of-00002.parquet")
    write(tmp_path / "tldr", pl.concat([TEST, TEST[:1]]), "test-00000-of-00001.parquet")
    write(tmp_path / "tldr-preference", pairs(), "train-00000-of-00001.parquet")
    return tmp_path


def test_policies_train_on_some_subreddits_and_are_evaluated_on_them_and_on_the_others(data_root):
    corpus, counts = read_summaries(IN, data_root=data_root)
    found = {split: set(part["community"]) for (split,), part in corpus.prompts.group_by("split")}
    assert found == {"train": set(IN), "evaluation": set(IN), "evaluation_out": set(OUT)}
    assert dict(corpus.prompts.group_by("split").len().rows()) == {
        "train": 20, "evaluation": 10, "evaluation_out": 10,
    }  # fmt: skip
    assert corpus.prompts["prompt_id"].n_unique() == 40
    assert corpus.demonstrations.height == TRAIN.height
    assert not set(corpus.demonstrations["prompt"]) & set(TEST["prompt"])
    assert corpus.demonstrations["response"].to_list() == TRAIN["completion"].to_list()
    assert counts["train_posts"] == 40 and counts["test_posts"] == 21 and counts["test_posts_repeated"] == 1


def test_pairs_are_cut_by_post_and_what_is_dropped_is_counted(data_root):
    corpus, counts = read_summaries(IN, data_root=data_root)
    assert (counts["pairs"], counts["pairs_without_subreddit"]) == (803, 1)
    assert (counts["pairs_about_test_posts"], counts["pairs_of_equal_summaries"]) == (1, 1)
    assert corpus.pairs.height == 800
    assert corpus.pairs.group_by("prompt").agg(pl.col("split").n_unique())["split"].max() == 1
    shares = dict(corpus.pairs.group_by("split").agg(pl.len() / 800).rows())
    assert shares == pytest.approx(PAIR_SHARES, abs=0.1)
    assert (corpus.pairs["prompt"] == corpus.pairs["rejected_prompt"]).all()
    other, _ = read_summaries(IN, data_root=data_root, seed=1)
    assert not other.pairs["split"].equals(corpus.pairs["split"])


def test_prompts_of_both_evaluations_are_as_many_and_stay_apart_from_training(data_root, tokenizer):
    corpus, _ = read_summaries(IN, data_root=data_root)
    fitted, _ = fit_to_context(corpus, tokenizer, 200, 50, "drop")
    taken = take_prompts(fitted, 7, 4).prompts
    assert dict(taken.group_by("split").len().rows()) == {"train": 7, "evaluation": 4, "evaluation_out": 4}
    assert "community" in taken.columns
    with pytest.raises(InputError, match=r"corpus.n_evaluation_prompts must be <= 10, the evaluation_out prompts"):
        take_prompts(fitted.__class__(fitted.demonstrations, fitted.pairs, taken_more(fitted)), 7, 11)


def taken_more(corpus):
    """The prompts with as many more of split evaluation, so that only evaluation_out is short."""
    more = corpus.prompts.filter(split="evaluation").with_columns(pl.col("prompt_id") + "x")
    return pl.concat([corpus.prompts, more])


def test_a_renamed_column_is_one_clear_error(data_root):
    write(data_root / "tldr", TEST.rename({"completion": "summary"}), "test-00000-of-00001.parquet")
    message = r"test-00000-of-00001\.parquet: no column completion \(String\); it has prompt, summary"
    with pytest.raises(InputError, match=message):
        read_summaries(IN, data_root=data_root)


def test_missing_files_and_unknown_subreddits_are_named(data_root):
    with pytest.raises(InputError, match=r"no post of split train with corpus\.subreddits relationship;"):
        read_summaries(["relationship"], data_root=data_root)
    for path in (data_root / "tldr-preference" / "data").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"tldr-preference: no train\*\.parquet; data_root must hold the files of"):
        read_summaries(IN, data_root=data_root)


def test_the_hub_gives_the_same_corpus(data_root, monkeypatch):
    """The hub's loader is replaced by one that reads the local files and notes what it was asked for."""
    asked = []

    def load_dataset(name, *, split, revision):
        asked.append((name, split, revision))
        files = sorted((data_root / name.partition("/")[2]).glob(f"**/{split}*.parquet"))
        return SimpleNamespace(to_polars=lambda: pl.concat([pl.read_parquet(file) for file in files]))

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    corpus, counts = read_summaries(IN, revisions=("one", "two"))
    local, local_counts = read_summaries(IN, data_root=data_root)
    assert counts == local_counts and corpus.prompts.equals(local.prompts) and corpus.pairs.equals(local.pairs)
    assert asked == [
        ("trl-lib/tldr", "train", "one"), ("trl-lib/tldr", "test", "one"), ("trl-lib/tldr-preference", "train", "two"),
    ]  # fmt: skip


def test_a_hub_that_does_not_answer_is_an_input_error(monkeypatch):
    def load_dataset(*arguments, **options):
        raise ConnectionError("no network")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(InputError, match=r"trl-lib/tldr \(train, revision main\) cannot be read from the hub"):
        read_summaries(IN)
