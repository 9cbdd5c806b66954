"""`infalign hedge`: exact keys, values against their definition, and every bad input with its text."""

import csv
import io
import json
import math

import numpy as np
import polars as pl
import pytest

from infalign.cli import main

KEYS = [
    "method",
    "parameter",
    "kind",
    "n_extrema",
    "expected_true",
    "ci_low",
    "ci_high",
    "expected_proxy",
    "kl",
]


@pytest.fixture
def run(capsys):
    """Run the command in this process: (exit code, rows of standard output, standard error)."""

    def call(*arguments: object) -> tuple[int, list[dict], str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, [json.loads(line) for line in captured.out.splitlines()], captured.err

    return call


def write(path, rewards, judges):
    """Write one row a response; both arguments map a prompt to a list."""
    prompts = [prompt for prompt, row in rewards.items() for _ in row]
    columns = {
        name: [float(value) for row in rows.values() for value in row]
        for name, rows in (("reward", rewards), ("judge", judges))
    }
    pl.DataFrame({"prompt_id": prompts} | columns).write_parquet(path)
    return path


@pytest.fixture
def hacked(tmp_path):
    """12 prompts × 32 responses; the true reward rises with the proxy's quantile and falls at the top."""
    rng = np.random.default_rng(0)
    rewards = rng.normal(size=(12, 32))
    u = (rewards.argsort(1).argsort(1) + 0.5) / 32
    judges = u - 0.9 * u**3 + 0.1 * rng.normal(size=u.shape)
    names = [f"p{i:02}" for i in range(12)]
    return write(
        tmp_path / "scores.parquet",
        dict(zip(names, rewards, strict=True)),
        dict(zip(names, judges, strict=True)),
    )


def best_of(frame, n):
    """Mean over prompts of the judge and the reward of the best of n independent draws, n real."""
    values = []
    for _, group in frame.group_by("prompt_id"):
        ordered = group.sort("reward")
        m = ordered.height
        steps = np.diff((np.arange(m + 1) / m) ** n)
        values.append([steps @ ordered[name].to_numpy() for name in ("judge", "reward")])
    return np.mean(values, axis=0)


def test_best_of_n(run, hacked):
    code, (row,), log = run("hedge", hacked, "--method", "bon")
    assert code == 0 and log == "" and list(row) == [*KEYS, "n"]
    assert (row["method"], row["kind"], row["n_extrema"]) == ("bon", "interior", 1)
    frame, theta = pl.read_parquet(hacked), row["parameter"]
    assert [row["expected_true"], row["expected_proxy"]] == pytest.approx(best_of(frame, theta))
    assert row["kl"] == pytest.approx(math.log(theta) - (theta - 1) / theta)
    grid = [best_of(frame, n)[0] for n in np.linspace(1, 32, 400)]
    assert row["expected_true"] >= max(grid) and theta % 1 != 0
    by_n = {n: best_of(frame, n)[0] for n in (math.floor(theta), math.ceil(theta))}
    assert row["n"] == max(by_n, key=by_n.get)
    assert row["ci_low"] < row["expected_true"] < row["ci_high"]


@pytest.mark.parametrize("method", ["bop", "tilt"])
def test_methods_without_n(run, hacked, method):
    code, (row,), _ = run("hedge", hacked, "--method", method)
    assert code == 0 and list(row) == KEYS and row["kind"] == "interior"


def test_soft_best_of_n(run, hacked):
    code, (row,), _ = run("hedge", hacked, "--method", "sbon", "--n", 16)
    assert code == 0 and list(row) == [*KEYS, "n"] and row["n"] == 16
    assert row["kl"] < math.log(16) - 15 / 16


def test_joint_hedging_marks_the_best_n(run, hacked):
    code, rows, _ = run("hedge", hacked, "--method", "sbon", "--n", 16, 2, 4)
    assert code == 0 and [list(row) for row in rows] == [[*KEYS, "n", "best"]] * 3
    assert [row["n"] for row in rows] == [16, 2, 4]
    best = max(rows, key=lambda row: row["expected_true"])
    assert [row["best"] for row in rows] == [row is best for row in rows]


def test_several_methods_in_their_order(run, hacked):
    _, rows, _ = run("hedge", hacked, "--method", "tilt", "sbon", "bon", "--n", 2, 4)
    assert [(row["method"], row["n"] if row["method"] == "sbon" else None) for row in rows] == [
        ("tilt", None),
        ("sbon", 2),
        ("sbon", 4),
        ("bon", None),
    ]
    assert [row["best"] is None for row in rows] == [True, False, False, True]
    _, (alone,), _ = run("hedge", hacked, "--method", "tilt")
    assert {key: rows[0][key] for key in KEYS} == alone and rows[0]["n"] is None


def test_range_of_the_parameter(run, hacked):
    _, (row,), _ = run("hedge", hacked, "--method", "bon", "--min", 1, "--max", 1.5)
    assert (row["kind"], row["parameter"], row["n"]) == ("at_upper", 1.5, 1)
    assert run("hedge", hacked, "--method", "tilt", "--max", 500)[0] == 0


def test_interval_options(run, hacked):
    arguments = ("hedge", hacked, "--method", "tilt")
    _, (row,), _ = run(*arguments)
    _, (wide,), _ = run(*arguments, "--level", 0.999, "--resamples", 500, "--seed", 3)
    assert wide["ci_low"] < row["ci_low"] < row["ci_high"] < wide["ci_high"]
    assert {key: wide[key] for key in KEYS if "ci" not in key} == {key: row[key] for key in KEYS if "ci" not in key}


def test_csv_is_the_same_table(capsys, hacked):
    arguments = ["hedge", str(hacked), "--method", "bon", "tilt"]
    main(arguments)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    main([*arguments, "--format", "csv"])
    parsed = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [{key: "" if value is None else str(value) for key, value in row.items()} for row in rows] == parsed


def test_numbers_of_responses_may_differ(run, tmp_path):
    path = write(tmp_path / "s.parquet", {"a": [1, 2, 3], "b": [4, 5, 6, 7]}, {"a": [0, 1, 3], "b": [0, 1, 2, 2]})
    code, (row,), _ = run("hedge", path, "--method", "bon")
    assert code == 0 and (row["kind"], row["parameter"], row["n"]) == ("at_upper", 3.0, 3)


def bad(run, *arguments):
    code, rows, log = run(*arguments)
    lines = log.strip().splitlines()
    assert code == 2 and rows == [] and len(lines) == 1 and lines[0].startswith("error: "), log
    return lines[0]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--method", "won"), "unknown method 'won'; valid methods: bon, bop, sbon, tilt"),
        (("--method",), "method: at least one value is needed"),
        (("--method", "sbon"), "the method sbon needs n"),
        (("--method", "bon", "--n", "4"), "--n belongs to the method sbon only, got it with bon"),
        (("--method", "sbon", "--n", "0"), "the n of sbon must be a whole number >= 1, got 0"),
        (
            ("--method", "sbon", "--n", "4", "64"),
            "sbon with n = 64 needs at least 64 responses a prompt, got 32",
        ),
        (("--method", "bon", "--max", "33"), "bon must lie in [1, 32]"),
        (("--method", "bon", "--min", "0.5"), "bon must lie in [1, 32]"),
        (("--method", "bop", "--max", "40"), "bop must lie in [0, 11.87388"),
        (("--method", "tilt", "--max", "501"), "tilt must lie in [0, 500]"),
        (("--method", "tilt", "--min", "-1"), "tilt must lie in [0, 500]"),
        (("--method", "bon", "--min", "4", "--max", "4"), "must have min < max, got min 4 and max 4"),
        (("--method", "bon", "--max", "nan"), "--max must be a finite number, got nan"),
        (("--method", "bon", "--level", "1"), "--level must lie between 0 and 1"),
        (("--method", "bon", "--resamples", "0"), "--resamples must be >= 1"),
        (("--method", "bon", "--method", "tilt"), "--method is given 2 times"),
    ],
)
def test_bad_options(run, hacked, options, text):
    assert text in bad(run, "hedge", hacked, *options)


@pytest.mark.parametrize(
    ("rewards", "judges", "text"),
    [
        ({"a": [1, 2], "b": [3, 4]}, {"a": [1, 2], "b": [3, 4]}, "are identical in every row"),
        ({"a": [1, 2], "b": [3, 4]}, {"a": [5, 5], "b": [5, 5]}, "is constant within every prompt"),
        ({"a": [1, 2], "b": [3, 4]}, {"a": [5, 5], "b": [6, 6]}, "is constant within every prompt"),
        ({"a": [1, 1], "b": [2, 2]}, {"a": [1, 2], "b": [3, 4]}, "all values of reward are tied"),
        ({"a": [1, 2, 3]}, {"a": [3, 5, 4]}, "one prompt only"),
        ({"a": [1], "b": [2]}, {"a": [3], "b": [4]}, "hedging needs at least 2 responses a prompt"),
        ({"a": [1, 2], "b": [2]}, {"a": [3, 4], "b": [4]}, "prompt_id 'b' has 1"),
        ({"a": [1, math.nan]}, {"a": [3, 4]}, "column reward must be finite"),
    ],
)
def test_bad_tables(run, tmp_path, rewards, judges, text):
    assert text in bad(run, "hedge", write(tmp_path / "s.parquet", rewards, judges), "--method", "bon")


def test_missing_column_and_file(run, hacked, tmp_path):
    assert "no such file" in bad(run, "hedge", tmp_path / "nowhere.parquet", "--method", "bon")
    pl.read_parquet(hacked).drop("judge").write_parquet(hacked)
    assert "missing column judge" in bad(run, "hedge", hacked, "--method", "bon")
