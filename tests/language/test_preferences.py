"""Reading HH: every row is kept or counted, groups are disjoint, limits hold, and errors say what to do."""

import gzip
import json
import os
from pathlib import Path

import datasets
import polars as pl
import pytest

from infalign.errors import InputError
from infalign.language.context import fit_to_context, take_prompts
from infalign.language.models import train_tokenizer
from infalign.language.preferences import (
    SHARES,
    first_human_turn,
    group_of,
    read_preferences,
    split_pairs,
)
from infalign.language.sources import prompt_id

SHARED = Path(os.environ.get("INFALIGN_SHARED", Path(__file__).parents[2] / ".." / "shared"))
REAL = SHARED / "data" / "hh-rlhf"


def dialogue(question: str, answer: str) -> str:
    return f"\n\nHuman: {question}\n\nAssistant: {answer}"


def write_rows(folder: Path, rows, name: str = "helpful-base") -> Path:
    (folder / name).mkdir(parents=True, exist_ok=True)
    path = folder / name / "train.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def rows(n: int = 300):
    for i in range(n):
        question = f"Question number {i} about topic {i % 7}?"
        yield {
            "chosen": dialogue(question, f"Good answer {i}."),
            "rejected": dialogue(question, f"Bad answer {i}."),
        }


@pytest.fixture
def data_root(tmp_path):
    write_rows(tmp_path, rows())
    return tmp_path


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([dialogue(f"Question {i}?", "Good answer. Bad answer.") for i in range(50)], 300)


def test_split_at_the_last_assistant_turn():
    start = dialogue("Hi", "Hello") + "\n\nHuman: And?"
    pairs, _ = split_pairs([(start + "\n\nAssistant: yes", start + "\n\nAssistant: no")])
    assert pairs.rows() == [(start + "\n\nAssistant:", " yes", " no")]


def test_every_dropped_row_is_counted_by_reason():
    good = (dialogue("Q", "a"), dialogue("Q", "b"))
    pairs, counts = split_pairs(
        [
            good,
            good,
            (dialogue("Q", "a"), dialogue("Q", "a ")),
            (dialogue("Q", "a"), dialogue("R", "b")),
            (dialogue("Q", "a"), dialogue("Q", "")),
            ("no turns at all", "nor here"),
        ]
    )
    assert pairs.height == 1
    assert counts == {
        "read": 6,
        "kept": 1,
        "duplicates": 1,
        "equal_responses": 1,
        "different_prompts": 1,
        "empty_response": 1,
        "malformed": 1,
    }


def test_groups_share_no_first_human_turn(data_root):
    corpus, counts = read_preferences("helpful-base", data_root=data_root, seed=3)
    turns = {
        split: {first_human_turn(prompt) for prompt in part["prompt"]}
        for (split,), part in corpus.pairs.group_by("split")
    }
    turns |= {
        split: {first_human_turn(prompt) for prompt in part["prompt"]}
        for (split,), part in corpus.prompts.group_by("split")
    }
    assert set(turns) == {"train", "evaluation", "reward_train", "reward_test", "judge_train", "judge_test"}
    for one in turns:
        for other in set(turns) - {one} - ({"reward_train", "train"} if one in ("train", "reward_train") else set()):
            assert not turns[one] & turns[other], (one, other)
    assert sum(counts[f"pairs_{group}"] for group in SHARES) == counts["kept"] == 300


def test_frames_have_the_columns_of_the_embedded_corpora(data_root):
    corpus, _ = read_preferences("helpful-base", data_root=data_root)
    assert corpus.prompts.columns == ["prompt_id", "prompt", "split"]
    assert corpus.demonstrations.columns == ["prompt", "response"]
    assert corpus.pairs.columns == ["prompt", "chosen", "rejected", "split", "rejected_prompt"]
    assert corpus.pairs["prompt"].equals(corpus.pairs["rejected_prompt"].rename("prompt"))
    assert corpus.prompts["prompt_id"].n_unique() == corpus.prompts.height
    assert corpus.prompts["prompt_id"][0] == prompt_id(corpus.prompts["prompt"][0])


def test_same_seed_same_cut_whatever_else_is_in_the_data(tmp_path):
    write_rows(tmp_path / "all", rows(300))
    write_rows(tmp_path / "part", list(rows(300))[::3])
    whole, _ = read_preferences("helpful-base", data_root=tmp_path / "all", seed=1)
    part, _ = read_preferences("helpful-base", data_root=tmp_path / "part", seed=1)
    assert set(part.pairs.rows()) <= set(whole.pairs.rows())
    other, _ = read_preferences("helpful-base", data_root=tmp_path / "all", seed=2)
    assert not whole.pairs.equals(other.pairs)


def test_groups_have_their_shares():
    groups = [group_of(f"turn {i}", 0) for i in range(20_000)]
    for group, share in SHARES.items():
        assert groups.count(group) / 20_000 == pytest.approx(share, abs=0.01)


def test_demonstrations_are_every_assistant_turn(tmp_path):
    start = dialogue("One?", "First.") + "\n\nHuman: Two?"
    turn = next(i for i in range(1000) if group_of(f"one {i}?", 0) == "policy")
    start = start.replace("One?", f"One {turn}?")
    write_rows(tmp_path, [{"chosen": start + "\n\nAssistant: A.", "rejected": start + "\n\nAssistant: B."}])
    corpus, _ = read_preferences("helpful-base", data_root=tmp_path)
    assert corpus.demonstrations.rows() == [
        (f"\n\nHuman: One {turn}?\n\nAssistant:", " First."),
        (start + "\n\nAssistant:", " A."),
    ]


def test_from_the_hub(monkeypatch):
    asked = []

    def load_dataset(path, **options):
        asked.append((path, options))
        part = datasets.Dataset.from_list(list(rows(40)))
        return datasets.DatasetDict({"train": part, "test": part.select(range(5))})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    _, counts = read_preferences("helpful-base", revision="abc")
    assert asked == [("Anthropic/hh-rlhf", {"data_dir": "helpful-base", "revision": "abc"})]
    assert (counts["read"], counts["kept"], counts["duplicates"]) == (45, 40, 5)


def test_hub_that_cannot_be_reached(monkeypatch):
    def load_dataset(path, **options):
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(InputError, match=r"\(helpful-base, revision main\) cannot be read .* no route"):
        read_preferences("helpful-base")


def test_missing_data_root(tmp_path):
    with pytest.raises(InputError, match=r"data_root: no such folder: .*nowhere; it must hold helpful-base/"):
        read_preferences("helpful-base", data_root=tmp_path / "nowhere")


def test_no_files(tmp_path):
    with pytest.raises(InputError, match=r"harmless-base: no \*\.jsonl\.gz files; data_root must be laid out"):
        read_preferences("harmless-base", data_root=tmp_path)


def test_truncated_gzip(data_root):
    path = data_root / "helpful-base" / "train.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"train\.jsonl\.gz: unreadable after line \d+ \(truncated or not gzip\)"):
        read_preferences("helpful-base", data_root=data_root)


def test_not_gzip(data_root):
    (data_root / "helpful-base" / "train.jsonl.gz").write_text("plain text")
    with pytest.raises(InputError, match=r"truncated or not gzip"):
        read_preferences("helpful-base", data_root=data_root)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"chosen": "x"}, r"line 1 needs a text rejected, got \['chosen'\]"),
        ({"chosen": "x", "rejected": 3}, r"line 1 needs a text rejected"),
        (["x"], r"line 1 needs a text chosen, got list"),
    ],
)
def test_rows_without_a_key(tmp_path, row, message):
    write_rows(tmp_path, [row])
    with pytest.raises(InputError, match=message):
        read_preferences("helpful-base", data_root=tmp_path)


def test_not_json(tmp_path):
    path = write_rows(tmp_path, rows(2))
    with gzip.open(path, "at") as file:
        file.write("{broken\n")
    with pytest.raises(InputError, match=r"train\.jsonl\.gz: line 3 is not JSON"):
        read_preferences("helpful-base", data_root=tmp_path)


def test_empty_file_and_no_usable_pair(tmp_path):
    write_rows(tmp_path, [])
    with pytest.raises(InputError, match=r"the file has no lines"):
        read_preferences("helpful-base", data_root=tmp_path)
    write_rows(tmp_path, [{"chosen": dialogue("Q", "a"), "rejected": dialogue("Q", "a")}])
    with pytest.raises(InputError, match=r"helpful-base: no usable preference pair among 1 rows"):
        read_preferences("helpful-base", data_root=tmp_path)


def lengths(tokenizer, texts):
    return [len(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]]


def test_too_long_is_an_error_unless_said_otherwise(data_root, tokenizer):
    corpus, _ = read_preferences("helpful-base", data_root=data_root)
    with pytest.raises(InputError, match=r"has \d+ tokens, the limit is 10 .*too_long: drop"):
        fit_to_context(corpus, tokenizer, 10, 50)


def test_drop_counts_what_it_leaves_out(data_root, tokenizer):
    corpus, _ = read_preferences("helpful-base", data_root=data_root)
    sizes = sorted(lengths(tokenizer, corpus.prompts["prompt"]))
    limit = sizes[-1] - 1
    fitted, counts = fit_to_context(corpus, tokenizer, limit, 50, "drop")
    assert max(lengths(tokenizer, fitted.prompts["prompt"])) <= limit
    assert counts["prompts_too_long_dropped"] == sum(size > limit for size in sizes) > 0
    assert fitted.prompts.height == sum(size <= limit for size in sizes)


def test_nothing_left_is_an_error(data_root, tokenizer):
    corpus, _ = read_preferences("helpful-base", data_root=data_root)
    with pytest.raises(InputError, match=r"demonstrations: none of \d+ rows fits into 1 prompt"):
        fit_to_context(corpus, tokenizer, 1, 50, "drop")


def test_truncation_keeps_the_end_of_prompts_and_whole_sentences(tmp_path, tokenizer):
    long = dialogue("First question?", "Some answer. " * 20) + "\n\nHuman: Last question {}?"
    answer = " One sentence here. And a second one. " + "more words " * 40 + "."
    write_rows(
        tmp_path,
        [
            {
                "chosen": long.format(i).replace("First", f"First {i}") + "\n\nAssistant:" + answer,
                "rejected": long.format(i).replace("First", f"First {i}") + "\n\nAssistant: No.",
            }
            for i in range(100)
        ],
    )
    corpus, _ = read_preferences("helpful-base", data_root=tmp_path)
    fitted, counts = fit_to_context(corpus, tokenizer, 40, 40, "truncate_left")
    assert max(lengths(tokenizer, fitted.prompts["prompt"])) <= 40
    assert all(prompt.startswith("\n\nHuman: Last question") for prompt in fitted.prompts["prompt"])
    assert set(fitted.pairs["chosen"]) == {" One sentence here. And a second one."}
    assert counts["pairs_chosen_shortened"] == corpus.pairs.height
    assert counts["pairs_rejected_shortened"] == 0
    assert fitted.prompts["prompt_id"].is_in(corpus.prompts["prompt_id"].implode()).all()


def test_shortened_prompts_stay_disjoint(tmp_path, tokenizer):
    end = "\n\nHuman: Thanks?\n\nAssistant:"
    write_rows(
        tmp_path,
        [
            {
                "chosen": dialogue(f"Question {i}?", "Long answer. " * 20) + end + " Yes.",
                "rejected": dialogue(f"Question {i}?", "Long answer. " * 20) + end + " No.",
            }
            for i in range(100)
        ],
    )
    corpus, _ = read_preferences("helpful-base", data_root=tmp_path)
    fitted, counts = fit_to_context(corpus, tokenizer, 20, 20, "truncate_left")
    assert fitted.prompts.select("prompt", "split").rows() == [(end, "evaluation")]
    assert fitted.pairs.is_empty() and counts["pairs_overlap_dropped"] == corpus.pairs.height


def test_take_prompts(data_root):
    corpus, _ = read_preferences("helpful-base", data_root=data_root)
    taken = take_prompts(corpus, 5, 3)
    assert taken.prompts["split"].to_list() == ["train"] * 5 + ["evaluation"] * 3
    with pytest.raises(InputError, match=r"corpus\.n_evaluation_prompts must be <= \d+, .* got 9999"):
        take_prompts(corpus, 5, 9999)


@pytest.mark.skipif(not REAL.is_dir(), reason="the HH files are not here; set INFALIGN_SHARED")
@pytest.mark.parametrize(("name", "kept"), [("helpful-base", 2339), ("harmless-base", 2303)])
def test_the_real_files(name, kept):
    corpus, counts = read_preferences(name, data_root=REAL)
    assert counts["kept"] == kept
    dropped = sum(counts[reason] for reason in ("different_prompts", "equal_responses", "empty_response"))
    assert counts["read"] == kept + dropped
    evaluation = corpus.prompts.filter(pl.col("split") == "evaluation")
    assert 200 <= evaluation.height <= 300
