"""Film reviews for tests, written here: sentences with a clear sentiment, no two reviews alike."""

import gzip
import json
from pathlib import Path

import numpy as np

GOOD = [
    "A joy from start to end.",
    "The cast is splendid.",
    "I would gladly see it twice.",
    "What a warm tale!",
]
BAD = [
    "A bore from start to end.",
    "The cast is wooden.",
    "I nearly left the room.",
    "What a waste of a night!",
]
OPENINGS = [
    "This film",
    "I saw it",
    "My sister and I",
    "Last night on a whim we rented it",
    "Well, here it is",
]


def review(number: int, label: int, seed: int = 0) -> str:
    """An opening, a number that makes it unique, and three to six sentences of the label's."""
    rng = np.random.default_rng([seed, number])
    said = rng.choice(GOOD if label else BAD, rng.integers(3, 7)).tolist()
    return f"{rng.choice(OPENINGS)} number {number} in the row of reels. " + "<br /><br />".join(said)


def labelled(n: int = 400) -> list[dict]:
    return [{"id": str(i), "text": review(i, i % 2), "label": i % 2, "stars": 9 - 8 * (i % 2)} for i in range(n)]


def unlabelled(n: int = 200) -> list[dict]:
    return [{"id": str(i), "text": review(i, i % 2, seed=1)} for i in range(n)]


def write_reviews(folder: Path, train=None, unsup=None) -> Path:
    """Both files of a data_root."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train", train), ("unsup", unsup)):
        rows = rows if rows is not None else labelled() if name == "train" else unlabelled()
        with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return folder
