"""Reading reviews: every row is kept or counted, groups are disjoint, limits hold, and errors say what to do."""

import os
from collections import Counter
from pathlib import Path

import datasets
import polars as pl
import pytest
from film_reviews import labelled, unlabelled, write_reviews

from infalign.errors import InputError
from infalign.language.context import SENTENCE_END, fit_to_context, take_prompts, take_reviews
from infalign.language.corpora import LABEL_COLUMNS, LEARNING_SPLITS, PAIR_COLUMNS
from infalign.language.models import train_tokenizer
from infalign.language.reviews import SHARES, plain_text, read_reviews, split_review
from infalign.language.sources import group_at, position

SHARED = Path(os.environ.get("INFALIGN_SHARED", Path(__file__).parents[2] / ".." / "shared"))
REAL = SHARED / "data" / "imdb"


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    return write_reviews(tmp_path_factory.mktemp("reviews"))


@pytest.fixture(scope="module")
def read(data_root):
    return read_reviews(data_root=data_root)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([plain_text(row["text"]) for row in unlabelled()], 400)


def texts(frame: pl.DataFrame) -> list[str]:
    return (frame["prompt"] + frame["response"]).to_list()


def lengths(tokenizer, column) -> list[int]:
    return [len(ids) for ids in tokenizer(column.to_list(), add_special_tokens=False)["input_ids"]]


def test_prompt_and_response_are_the_review_in_two(read):
    corpus, _ = read
    assert set(texts(corpus.demonstrations)) == {plain_text(row["text"]) for row in unlabelled()}
    assert not any("<br" in text or "  " in text for text in texts(corpus.demonstrations))
    assert corpus.demonstrations["response"].str.contains(r"^ \S").all()
    words = corpus.demonstrations["prompt"].str.split(" ").list.len()
    assert set(words) == set(range(2, 9))


def test_numbers_of_words_are_alike_likely():
    drawn = Counter(int(7 * position(f"words\0review {i}", 0)) for i in range(14_000))
    assert set(drawn) == set(range(7))
    assert all(count == pytest.approx(2000, abs=200) for count in drawn.values())  # 200: more than 4 deviations


def test_labels_are_those_of_the_reviews(read):
    corpus, _ = read
    assert corpus.labels.schema == pl.Schema(LABEL_COLUMNS)
    true = {plain_text(row["text"]): float(row["label"]) for row in labelled()}
    assert [true[text] for text in texts(corpus.labels)] == corpus.labels["label"].to_list()
    assert set(corpus.labels["label"]) == {0.0, 1.0}
    assert corpus.pairs.is_empty() and corpus.pairs.schema == pl.Schema(PAIR_COLUMNS)


def test_groups_share_no_review(read):
    corpus, counts = read
    groups = [set(texts(part)) for _, part in corpus.labels.group_by("split")]
    assert len(groups) == len(LEARNING_SPLITS)
    assert sum(map(len, groups)) == len(set.union(*groups)) == corpus.labels.height
    prompts = {name: corpus.prompts.filter(split=name)["prompt"] for name in ("train", "evaluation")}
    assert not set(prompts["train"]) & set(prompts["evaluation"])
    assert corpus.prompts["prompt_id"].is_unique().all()
    assert sum(counts[f"labels_{group}"] for group in LEARNING_SPLITS) == corpus.labels.height
    assert counts["prompts_train"] == len(prompts["train"]) > counts["prompts_evaluation"] > 0


def test_evaluation_prompts_are_no_training_prompts_even_where_reviews_begin_alike(data_root):
    corpus, _ = read_reviews(data_root=data_root, prompt_words=(2, 2))
    assert corpus.prompts["prompt"].is_unique().all()
    assert set(corpus.prompts.filter(split="evaluation")["prompt"]) <= {
        "This film", "I saw", "My sister", "Last night", "Well, here",
    }  # fmt: skip
    places = {row["text"]: group_at(position(plain_text(row["text"]), 0), SHARES) for row in labelled()}
    both = [
        {split_review(text, 2)[0] for text, group in places.items() if group == name}
        for name in ("train", "evaluation")
    ]
    assert both[0] & both[1], "reviews of both groups begin alike, so that something was to be left out"


def test_groups_have_their_shares():
    assert sum(SHARES.values()) == pytest.approx(1.0)
    groups = Counter(group_at(position(f"review {i}", 0), SHARES) for i in range(20_000))
    for group, share in SHARES.items():
        assert groups[group] / 20_000 == pytest.approx(share, abs=0.015)


def test_same_seed_same_cut_whatever_else_is_in_the_data(tmp_path, read):
    write_reviews(tmp_path, labelled()[::3], unlabelled()[::3])
    part, _ = read_reviews(data_root=tmp_path)
    assert set(part.labels.rows()) < set(read[0].labels.rows())
    assert set(part.demonstrations.rows()) < set(read[0].demonstrations.rows())
    other, _ = read_reviews(data_root=tmp_path, seed=1)
    assert set(other.labels.rows()) != set(part.labels.rows())
    assert set(other.demonstrations["prompt"]) != set(part.demonstrations["prompt"])


def test_rows_do_not_come_in_the_order_of_the_file(tmp_path):
    rows = sorted(labelled(), key=lambda row: row["label"])
    corpus, _ = read_reviews(data_root=write_reviews(tmp_path, rows))
    first = corpus.labels.filter(split="reward_train")["label"].head(40)
    assert 8 <= first.sum() <= 32


def test_duplicates_and_short_reviews_are_dropped_and_counted(tmp_path):
    train = [*labelled(20), labelled(1)[0] | {"text": labelled(1)[0]["text"].replace("<br /><br />", " \n")}]
    unsup = [*unlabelled(10), {"text": labelled(1)[0]["text"]}, {"text": "Too short"}]
    corpus, counts = read_reviews(data_root=write_reviews(tmp_path, train, unsup))
    assert (counts["labelled_read"], counts["labelled_duplicates"]) == (21, 1)
    assert (counts["unlabelled_read"], counts["unlabelled_duplicates"]) == (12, 1)
    assert counts["unlabelled_too_short"] == 1
    assert corpus.demonstrations.height == counts["demonstrations"] == 10


def test_long_responses_are_cut_at_a_blank(data_root, read):
    short, _ = read_reviews(data_root=data_root, max_characters=40)
    rows = zip(short.demonstrations.rows(), read[0].demonstrations.rows(), strict=True)
    cut = [(begun, whole) for (_, begun), (_, whole) in rows if begun != whole]
    assert len(cut) > 100
    assert all(len(begun) <= 40 and whole.startswith(begun + " ") for begun, whole in cut)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"review": "Fine.", "label": 1},
            r"line 1 needs the text of a review as `text`, got columns review, label",
        ),
        ({"text": " ", "label": 1}, r"line 1 needs the text of a review as `text`, got ' '"),
        ({"text": 3, "label": 1}, r"got 3; correct or remove it"),
        ({"text": "Fine."}, r"needs a `label`, 0 \(negative\) or 1 \(positive\), got columns text"),
        ({"text": "Fine.", "label": 2}, r"needs a `label`.* got 2"),
        ({"text": "Fine.", "label": "pos"}, r"needs a `label`.* got 'pos'"),
        (["Fine."], r"needs the text of a review as `text`, got a list"),
    ],
)
def test_rows_that_cannot_be_used(tmp_path, row, message):
    with pytest.raises(InputError, match=message):
        read_reviews(data_root=write_reviews(tmp_path, [row]))


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(InputError, match=r"no such file: .*train\.jsonl\.gz, .*unsup\.jsonl\.gz; the folder must"):
        read_reviews(data_root=tmp_path)
    write_reviews(tmp_path)
    path = tmp_path / "unsup.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"unsup\.jsonl\.gz: unreadable after line \d+ \(truncated or not gzip\)"):
        read_reviews(data_root=tmp_path)


def hub(monkeypatch, **parts):
    asked = []

    def load_dataset(path, **options):
        asked.append((path, options))
        return datasets.DatasetDict({name: datasets.Dataset.from_list(rows) for name, rows in parts.items()})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


def test_the_hub_gives_the_same_corpus_as_the_files(monkeypatch, read):
    train = [{"text": row["text"], "label": row["label"]} for row in labelled()]
    unsup = [{"text": row["text"], "label": -1} for row in unlabelled()]
    asked = hub(monkeypatch, train=train, test=train[:3], unsupervised=unsup)
    corpus, counts = read_reviews(revision="abc")
    assert asked == [("stanfordnlp/imdb", {"revision": "abc"})]
    assert counts == read[1]
    assert all(getattr(corpus, name).equals(getattr(read[0], name)) for name in ("demonstrations", "labels", "prompts"))


def test_a_dataset_of_the_hub_with_other_columns_or_parts(monkeypatch):
    hub(monkeypatch, train=[{"sentence": "Fine.", "label": 1}], unsupervised=unlabelled(2))
    with pytest.raises(InputError, match=r"stanfordnlp/imdb: train row 0 needs .* `text`, got columns sentence, label"):
        read_reviews()
    hub(monkeypatch, train=labelled(4))
    with pytest.raises(InputError, match="has no part unsupervised, only train; check the revision"):
        read_reviews()


def test_a_hub_that_cannot_be_reached(monkeypatch):
    def load_dataset(path, **options):
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(InputError, match=r"stanfordnlp/imdb \(revision main\) cannot be read .* no route"):
        read_reviews()


def test_responses_end_with_the_last_sentence_that_fits(read, tokenizer):
    corpus, _ = read
    fitted, counts = fit_to_context(corpus, tokenizer, 40, 24, "truncate_left")
    whole = {text: label for *parts, label in corpus.labels.drop("split").rows() for text in ["".join(parts)]}
    for table in ("demonstrations", "labels"):
        frame = getattr(fitted, table)
        assert max(lengths(tokenizer, frame["response"])) <= 23 and frame["response"].str.ends_with(" ").sum() == 0
        assert frame["response"].str.contains(r"[.!?]$").all()
        assert counts[f"{table}_response_shortened"] > 0
    for prompt, response, label, _ in fitted.labels.rows():
        (text,) = (text for text in whole if text.startswith(prompt + response))
        assert whole[text] == label
        ends = [match.end() for match in SENTENCE_END.finditer(text) if match.end() > len(prompt + response)]
        if ends:
            assert len(tokenizer(text[len(prompt) : ends[0]])["input_ids"]) > 23


def test_what_has_no_whole_sentence_is_dropped_and_counted(tmp_path, tokenizer):
    endless = [{"text": f"Number {i} never " + "ends and " * 60, "label": i % 2} for i in range(30)]
    corpus, _ = read_reviews(data_root=write_reviews(tmp_path, [*labelled(100), *endless]))
    fitted, counts = fit_to_context(corpus, tokenizer, 40, 24, "truncate_left")
    left = corpus.labels.height - counts["labels_too_long_dropped"] - counts["labels_overlap_dropped"]
    assert fitted.labels.height == left
    assert counts["labels_too_long_dropped"] >= sum("ends and" in text for text in texts(corpus.labels)) > 0
    assert not any("ends and" in text for text in texts(fitted.labels))


def test_prompts_of_evaluation_are_left_out_of_labels_and_demonstrations(data_root, tokenizer):
    corpus, _ = read_reviews(data_root=data_root, prompt_words=(2, 3))
    fitted, counts = fit_to_context(corpus, tokenizer, 40, 24, "truncate_left")
    held_out = set(fitted.prompts.filter(split="evaluation")["prompt"])
    for table in ("labels", "demonstrations"):
        assert held_out & set(getattr(corpus, table)["prompt"])
        assert not held_out & set(getattr(fitted, table)["prompt"])
        assert counts[f"{table}_overlap_dropped"] > 0


def test_taking_as_many_as_asked_for(read, tokenizer):
    fitted, _ = fit_to_context(read[0], tokenizer, 40, 24, "truncate_left")
    taken = take_prompts(take_reviews(fitted, 50, 30, 4), 5, 3)
    assert taken.demonstrations.equals(fitted.demonstrations.head(50))
    assert dict(taken.labels["split"].value_counts().iter_rows()) == {
        "reward_train": 30, "judge_train": 30, "reward_test": 4, "judge_test": 4,
    }  # fmt: skip
    assert taken.prompts["split"].to_list() == ["train"] * 5 + ["evaluation"] * 3
    with pytest.raises(InputError, match=r"corpus\.n_demonstrations must be <= \d+, .* got 9999"):
        take_reviews(fitted, 9999, 30, 4)
    with pytest.raises(InputError, match=r"corpus\.n_labelled must be <= \d+, the labelled responses of reward_train"):
        take_reviews(fitted, 50, 9999, 4)


@pytest.mark.skipif(not REAL.is_dir(), reason="the IMDB files are not here; set INFALIGN_SHARED")
def test_the_real_files():
    corpus, counts = read_reviews(data_root=REAL, max_characters=320)
    assert (counts["labelled_read"], counts["unlabelled_read"]) == (24_996, 50_000)
    assert corpus.demonstrations.height == 50_000 - counts["unlabelled_duplicates"] - counts["unlabelled_too_short"]
    assert corpus.labels["label"].mean() == pytest.approx(0.5, abs=0.02)
    assert counts["prompts_train"] >= 5000
