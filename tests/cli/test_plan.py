"""`infalign plan`: output keys and order, a choice known beforehand, and every bad input with its text."""

import csv
import io
import json
import math

import numpy as np
import polars as pl
import pytest

from infalign.cli import main

KEYS = ["transform", "kl", "beta", "procedure", "n_mean", "win_rate", "ci_low", "ci_high"]


@pytest.fixture
def run(capsys):
    """Run `infalign plan` in this process: (exit code, standard output, standard error)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main(["plan", *map(str, arguments)])
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def rows(out):
    return [json.loads(line) for line in out.splitlines()]


def write(path, reward, judge):
    prompts, samples = np.indices(reward.shape).reshape(2, -1)
    columns = {"prompt_id": [f"p{i:02}" for i in prompts], "sample_id": samples}
    pl.DataFrame(columns | {"reward": reward.ravel(), "judge": judge.ravel()}).write_parquet(path)
    return path


@pytest.fixture
def scores(tmp_path):
    """20 prompts × 40 responses; the judge agrees with the reward in part."""
    rng = np.random.default_rng(0)
    reward = rng.normal(size=(20, 40))
    return write(tmp_path / "scores.parquet", reward, reward + 0.5 * rng.normal(size=reward.shape))


def test_one_row_with_its_keys(run, scores):
    code, out, log = run(scores, "--max-kl", 0.5, "--max-n", 4)
    (row,) = rows(out)
    assert code == 0 and list(row) == KEYS and log == ""
    assert (row["kl"], row["procedure"], row["n_mean"]) == (0.5, "bon(4)", 4.0)
    assert 0.5 < row["ci_low"] < row["win_rate"] < row["ci_high"] < 1 and row["beta"] > 0
    assert row["win_rate"] > 0.8


def test_every_pair_of_budgets_in_order(run, scores):
    _, out, _ = run(scores, "--max-kl", 0.1, 0.5, "--max-n", 1, 3)
    single = [run(scores, "--max-kl", kl, "--max-n", n)[1] for kl in (0.1, 0.5) for n in (1, 3)]
    assert out == "".join(single)
    assert [row["procedure"] for row in rows(out)] == ["none", "bon(3)"] * 2


def test_nothing_trained_is_null(run, tmp_path):
    reward = np.random.default_rng(1).normal(size=(10, 30))
    opposed = write(tmp_path / "opposed.parquet", reward, -reward)
    _, out, _ = run(opposed, "--max-kl", 0.5, "--max-n", 3)
    expected = {"transform": None, "kl": 0.0, "beta": None, "procedure": "none", "n_mean": 1.0}
    assert {key: rows(out)[0][key] for key in expected} == expected
    assert rows(out)[0]["win_rate"] == pytest.approx(0.5)


def test_csv_is_the_same_table(run, scores):
    arguments = (scores, "--max-kl", 0, 0.5, "--max-n", 2)
    _, plain, _ = run(*arguments)
    _, out, _ = run(*arguments, "--format", "csv")
    parsed = list(csv.DictReader(io.StringIO(out)))
    assert [list(row) for row in parsed] == [KEYS] * 2
    for row, line in zip(rows(plain), parsed, strict=True):
        assert {key: "" if value is None else str(value) for key, value in row.items()} == line


def test_the_order_of_the_rows_does_not_matter(run, scores, tmp_path):
    shuffled = tmp_path / "shuffled.parquet"
    pl.read_parquet(scores).sample(fraction=1, shuffle=True, seed=1).write_parquet(shuffled)
    first, second = (rows(run(path, "--max-kl", 0.5, "--max-n", 2)[1])[0] for path in (scores, shuffled))
    assert list(first.values())[5:] == pytest.approx(list(second.values())[5:])
    assert first["procedure"] == second["procedure"] and first["transform"] == second["transform"]


def test_options_of_the_interval(run, scores):
    arguments = (scores, "--max-kl", 0, "--max-n", 2)
    (wide,) = rows(run(*arguments, "--level", 0.99, "--resamples", 500)[1])
    (narrow,) = rows(run(*arguments, "--level", 0.5, "--resamples", 500)[1])
    assert wide["win_rate"] == narrow["win_rate"]
    assert wide["ci_low"] < narrow["ci_low"] <= narrow["ci_high"] < wide["ci_high"]
    (other,) = rows(run(*arguments, "--seed", 7)[1])
    assert other["win_rate"] != wide["win_rate"], "another seed reports on other prompts"


def test_two_prompts_have_no_interval(run, scores, tmp_path):
    two = tmp_path / "two.parquet"
    pl.read_parquet(scores).filter(pl.col("prompt_id") < "p02").write_parquet(two)
    code, out, log = run(two, "--max-kl", 0.2, "--max-n", 2)
    assert code == 0 and "a single prompt is left to report" in log
    assert (rows(out)[0]["ci_low"], rows(out)[0]["ci_high"]) == (None, None)


def test_kl_out_of_reach_is_counted(run, scores):
    code, out, log = run(scores, "--max-kl", 4.0, "--max-n", 1)
    assert code == 0 and rows(out)[0]["kl"] < math.log(40)
    assert "warning: left out of the grid: 1 of 8 KLs, as 40 rollouts per prompt reach less than 3.68888" in log


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--max-kl", -1, "--max-n", 4), "max_kl must be a finite number >= 0, got -1.0"),
        (("--max-kl", "nan", "--max-n", 4), "max_kl must be a finite number >= 0, got nan"),
        (("--max-kl", 0.5, "--max-n", 0), "max_n must be a finite number >= 1, got 0.0"),
        (("--max-kl", 0.5, "--max-n"), "max_n: at least one value is needed"),
        (("--max-kl", 0.5, "--max-n", 4, "--level", 2), "--level must lie"),
        (("--max-kl", 0.5, "--max-n", 4, "--resamples", 0), "--resamples must be >= 1"),
        (("--max-kl", 0.5, "--max-n", 4, "--seed", -1), "--seed must be >= 0"),
        (("--max-kl", 0.5, "--max-kl", 1, "--max-n", 4), "--max-kl is given 2 times"),
    ],
)
def test_bad_options(run, scores, arguments, text):
    code, out, log = run(scores, *arguments)
    assert code == 2 and out == "" and len(log.splitlines()) == 1
    assert log.startswith("error: ") and text in log


@pytest.mark.parametrize("arguments", [("--max-kl", 0.5), ("--max-n", 4), ()])
def test_both_budgets_are_needed(run, scores, arguments):
    code, out, _ = run(scores, *arguments)
    assert code == 2 and out == ""


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda frame: frame.drop("judge"), "missing column judge"),
        (lambda frame: frame.with_columns(judge=pl.lit(1.0)), "all values of judge are tied"),
        (lambda frame: frame.with_columns(reward=pl.lit(1.0)), "all values of reward are tied"),
        (lambda frame: frame.with_columns(judge=pl.lit(math.nan)), "column judge must be finite"),
        (lambda frame: frame.head(60), "same number of responses, got from 20 to 40"),
        (lambda frame: frame.head(40), "planning needs at least 2 prompts"),
        (lambda frame: frame.clear(), "the table has no rows"),
        (lambda frame: pl.concat([frame, frame.head(1)]), "duplicate (prompt_id, sample_id)"),
    ],
)
def test_bad_tables(run, scores, change, text):
    change(pl.read_parquet(scores)).write_parquet(scores)
    code, out, log = run(scores, "--max-kl", 0.5, "--max-n", 4)
    assert code == 2 and out == "" and len(log.splitlines()) == 1
    assert log.startswith("error: ") and text in log


def test_missing_table(run, tmp_path):
    code, _, log = run(tmp_path / "nowhere.parquet", "--max-kl", 0.5, "--max-n", 4)
    assert code == 2 and "nowhere.parquet: no such file" in log
