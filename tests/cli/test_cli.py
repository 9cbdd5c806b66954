"""The command: output keys and order, values against closed forms, and every bad input with its text."""

import csv
import io
import json
import math
import subprocess
import sys
from itertools import combinations

import numpy as np
import polars as pl
import pytest

from infalign.cli import main

FRONTIER_KEYS = ["transform", "procedure", "beta", "kl", "win_rate"]
INTERVAL_KEYS = ["ci_low", "ci_high", "level", "n_prompts"]


@pytest.fixture
def run(capsys):
    """Run the command in this process: (exit code, rows of standard output, standard error)."""

    def call(*arguments: object) -> tuple[int, list[dict], str]:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, [json.loads(line) for line in captured.out.splitlines()], captured.err

    return call


def table(path, rows, **columns):
    """Write prompts × samples scores; `rows` maps a prompt to its rewards."""
    frame = pl.DataFrame(
        {
            "prompt_id": [prompt for prompt, rewards in rows.items() for _ in rewards],
            "sample_id": [i for rewards in rows.values() for i in range(len(rewards))],
            "reward": [float(reward) for rewards in rows.values() for reward in rewards],
        }
    )
    frame = frame.with_columns(**{"judge": pl.col("reward"), **columns})
    frame.write_parquet(path)
    return path


@pytest.fixture
def reference(tmp_path):
    return table(tmp_path / "reference.parquet", {"a": [1, 2, 3, 4], "b": [-1, 0, 5, 9]})


@pytest.fixture
def policy(tmp_path):
    return table(tmp_path / "policy.parquet", {"a": [2, 3, 3.5, 9], "b": [0, 6, 7, 8]})


@pytest.fixture
def scores(tmp_path):
    """40 prompts × 50 responses; the judge agrees with the reward in part."""
    rng = np.random.default_rng(0)
    reward = rng.normal(size=(40, 50))
    judge = reward + rng.normal(size=(40, 50))
    frame = table(tmp_path / "scores.parquet", {f"p{i:02}": row for i, row in enumerate(reward)})
    pl.read_parquet(frame).with_columns(judge=pl.Series(judge.ravel())).write_parquet(frame)
    return frame


# Theory


def bon_kl(n: int) -> float:
    return math.log(n) - (n - 1) / n


def test_ideal_identity_at_beta_has_its_closed_form(run):
    beta = 0.5
    code, rows, _ = run("ideal", "--transform", "identity", "--procedure", "none", "--beta", beta)
    s = 1 / beta
    z = (math.exp(s) - 1) / s
    mean = math.exp(s) / (math.exp(s) - 1) - 1 / s
    assert code == 0 and list(rows[0]) == FRONTIER_KEYS
    assert rows[0]["transform"] == "identity" and rows[0]["procedure"] == "none" and rows[0]["beta"] == beta
    assert rows[0]["kl"] == pytest.approx(s * mean - math.log(z), abs=1e-10)
    assert rows[0]["win_rate"] == pytest.approx(mean, abs=1e-10)


def test_ideal_log_is_a_power_law(run):
    beta = 0.25
    _, rows, _ = run("ideal", "--transform", "log", "--procedure", "none", "bon(3)", "--beta", beta)
    a = 1 + 1 / beta
    assert [row["procedure"] for row in rows] == ["none", "bon(3)"]
    for row, exponent in zip(rows, (a, 3 * a), strict=True):
        opponent = 1 if row["procedure"] == "none" else 3
        assert row["win_rate"] == pytest.approx(exponent / (exponent + opponent), abs=1e-9)
        assert row["kl"] == pytest.approx(math.log(a) - (a - 1) / a, abs=1e-9)


def test_ideal_nests_options_in_their_order(run):
    transforms, targets, budgets = ["identity", "exp(-10)"], ["none", "won(4)"], [0.25, 0.5]
    _, rows, _ = run("ideal", "--kl", *budgets, "--procedure", *targets, "--transform", *transforms)
    expected = [(phi, target, kl) for phi in transforms for target in targets for kl in budgets]
    got = [(row["transform"], row["procedure"]) for row in rows]
    assert got == [combination[:2] for combination in expected]
    for row, (_, _, kl) in zip(rows, expected, strict=True):
        assert row["kl"] == pytest.approx(kl, abs=1e-9)


def test_ideal_canonical_texts(run):
    _, rows, _ = run("ideal", "--transform", "exp( 10.0 )", "--procedure", "bon( 4 )", "--kl", "0.5")
    assert (rows[0]["transform"], rows[0]["procedure"]) == ("exp(10)", "bon(4)")


def test_ideal_at_beta_and_at_its_kl_agree(run):
    _, first, _ = run("ideal", "--transform", "exp(10)", "--procedure", "bon(4)", "--beta", "5000")
    _, second, _ = run("ideal", "--transform", "exp(10)", "--procedure", "bon(4)", "--kl", first[0]["kl"])
    assert second[0]["beta"] == pytest.approx(5000, rel=1e-6)


def test_optimal_keys_and_residual(run):
    code, rows, _ = run("optimal", "--procedure", "none", "bon(4)", "--kl", "0.5")
    assert code == 0 and list(rows[0]) == [*FRONTIER_KEYS, "residual", "iterations", "converged"]
    assert [row["transform"] for row in rows] == ["optimal(none)", "optimal(bon(4))"]
    assert all(row["converged"] is True and row["residual"] < 1e-6 for row in rows)
    _, ideal, _ = run("ideal", "--transform", "identity", "exp(10)", "--procedure", "none", "bon(4)", "--kl", "0.5")
    assert rows[0]["win_rate"] == pytest.approx(ideal[0]["win_rate"], abs=1e-8)
    assert rows[1]["win_rate"] > max(ideal[1]["win_rate"], ideal[3]["win_rate"]) - 1e-9


def test_procedure_has_its_closed_forms(run):
    code, rows, _ = run("procedure", "none", "bon(4)", "won(4)", "bop(3.5)")
    assert code == 0 and [list(row) for row in rows] == [["procedure", "kl", "mean_quantile"]] * 4
    assert (rows[0]["kl"], rows[0]["mean_quantile"]) == (0.0, 0.5)
    assert rows[1]["kl"] == pytest.approx(bon_kl(4), abs=1e-12)
    assert rows[1]["mean_quantile"] == pytest.approx(4 / 5, abs=1e-12)
    assert rows[2]["kl"] == pytest.approx(bon_kl(4), abs=1e-12)
    assert rows[2]["mean_quantile"] == pytest.approx(1 / 5, abs=1e-12)
    u = (np.arange(2_000_000) + 0.5) / 2_000_000
    density = (1 + 3.5 * u) * np.exp(3.5 * (u - 1))
    assert rows[3]["kl"] == pytest.approx(float(np.mean(density * np.log(density))), abs=1e-9)
    assert rows[3]["mean_quantile"] == pytest.approx(float(np.mean(density * u)), abs=1e-9)


def test_csv_is_the_same_table(capsys):
    arguments = ["ideal", "--transform", "identity", "log", "--procedure", "bon(4)", "--kl", "0.5"]
    main(arguments)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    main([*arguments, "--format", "csv"])
    text = capsys.readouterr().out
    parsed = list(csv.DictReader(io.StringIO(text)))
    assert [list(row) for row in parsed] == [FRONTIER_KEYS] * 2
    for row, line in zip(rows, parsed, strict=True):
        assert {key: str(value) for key, value in row.items()} == line


# Tables


def test_calibrate_half_weak_strict(run, tmp_path, reference):
    responses = table(tmp_path / "scores.parquet", {"a": [0, 2, 2.5, 9], "b": [9]})
    expected = {
        "half": [0, 1.5 / 4, 2 / 4, 1, 3.5 / 4],
        "weak": [0, 2 / 4, 2 / 4, 1, 1],
        "strict": [0, 1 / 4, 2 / 4, 1, 3 / 4],
    }
    for ties, values in expected.items():
        out = tmp_path / f"{ties}.parquet"
        code, rows, _ = run("calibrate", reference, responses, "--ties", ties, "--out", out)
        assert code == 0 and rows == []
        result = pl.read_parquet(out)
        assert result["calibrated"].to_list() == pytest.approx(values)
        assert result.drop("calibrated").equals(pl.read_parquet(responses))
        assert json.loads((tmp_path / f"{ties}.parquet.manifest.json").read_text())["ties"] == ties


def test_calibrate_leave_one_out(run, tmp_path, reference):
    out = tmp_path / "out.parquet"
    assert run("calibrate", reference, reference, "--leave-one-out", "--out", out)[0] == 0
    assert pl.read_parquet(out)["calibrated"].to_list() == pytest.approx([0, 1 / 3, 2 / 3, 1] * 2)


def test_calibrate_median_anchor_is_a_power_law(run, tmp_path, reference):
    out = tmp_path / "out.parquet"
    responses = table(tmp_path / "scores.parquet", {"a": [2.5, 1, 30], "b": [2.5]})
    assert run("calibrate", reference, responses, "--calibrator", "anchors(1)", "--out", out)[0] == 0
    offset = np.mean([1, 2, 3, 4, -1, 0, 5, 9])

    def sigmoid(x):
        return 1 / (1 + np.exp(-(np.asarray(x) - offset)))

    def expected(rewards, references):
        gamma = np.log(0.5) / np.log(np.median(sigmoid(references)))
        return sigmoid(rewards) ** gamma

    values = [*expected([2.5, 1, 30], [1, 2, 3, 4]), *expected([2.5], [-1, 0, 5, 9])]
    assert pl.read_parquet(out)["calibrated"].to_list() == pytest.approx(values, abs=1e-12)


def test_calibrate_anchors_without_own_rollout(run, tmp_path, reference):
    out, fewer = tmp_path / "out.parquet", tmp_path / "fewer.parquet"
    run("calibrate", reference, reference, "--calibrator", "anchors(1)", "--leave-one-out", "--out", out)
    first = pl.read_parquet(out)["calibrated"][1]
    offset = np.mean([1, 2, 3, 4, -1, 0, 5, 9])
    score = 1 / (1 + np.exp(-(np.array([1, 3, 4]) - offset)))
    own = 1 / (1 + np.exp(-(2 - offset)))
    assert first == pytest.approx(own ** (np.log(0.5) / np.log(np.median(score))), abs=1e-12)
    assert not fewer.exists()


def enumerated_win_rate(policy, reference, n, best=max):
    """Over all pairs of size-n subsets; rewards judge too."""
    wins = [
        (best(one) > best(other)) + 0.5 * (best(one) == best(other))
        for one in combinations(policy, n)
        for other in combinations(reference, n)
    ]
    return np.mean(wins)


@pytest.mark.parametrize(("procedure", "n", "best"), [("none", 1, max), ("bon(2)", 2, max), ("won(3)", 3, min)])
def test_winrate_is_the_mean_over_all_subsets(run, policy, reference, procedure, n, best):
    code, rows, _ = run("winrate", policy, reference, "--procedure", procedure, "--select", "judge")
    expected = [
        enumerated_win_rate([2, 3, 3.5, 9], [1, 2, 3, 4], n, best),
        enumerated_win_rate([0, 6, 7, 8], [-1, 0, 5, 9], n, best),
    ]
    assert code == 0 and list(rows[0]) == ["procedure", "select", "win_rate", *INTERVAL_KEYS]
    assert rows[0]["win_rate"] == pytest.approx(np.mean(expected), abs=1e-12)
    assert min(expected) - 1e-12 <= rows[0]["ci_low"] <= rows[0]["ci_high"] <= max(expected) + 1e-12
    assert (rows[0]["level"], rows[0]["n_prompts"], rows[0]["select"]) == (0.95, 2, "judge")


def test_winrate_matches_prompts_by_name_not_by_place(run, tmp_path, policy, reference):
    _, rows, _ = run("winrate", policy, reference, "--procedure", "bon(2)")
    shuffled = tmp_path / "shuffled.parquet"
    pl.read_parquet(policy).sample(fraction=1, shuffle=True, seed=1).write_parquet(shuffled)
    _, again, _ = run("winrate", shuffled, reference, "--procedure", "bon(2)")
    assert again[0]["win_rate"] == pytest.approx(rows[0]["win_rate"], abs=1e-12)


def test_winrate_selects_by_reward_and_is_decided_by_the_judge(run, tmp_path):
    first = table(tmp_path / "policy.parquet", {"a": [1, 2]}, judge=pl.Series([9.0, 0.0]))
    second = table(tmp_path / "reference.parquet", {"a": [1, 2]}, judge=pl.Series([5.0, 4.0]))
    _, by_reward, _ = run("winrate", first, second, "--procedure", "bon(2)", "--select", "reward")
    _, by_judge, _ = run("winrate", first, second, "--procedure", "bon(2)", "--select", "judge")
    assert (by_reward[0]["win_rate"], by_judge[0]["win_rate"]) == (0.0, 1.0)


def test_winrate_against_one_plain_sample(run, tmp_path):
    policy = table(tmp_path / "policy.parquet", {"a": [1, 2, 3]})
    reference = table(tmp_path / "reference.parquet", {"a": [2.5]})
    code, rows, _ = run("winrate", policy, reference, "--procedure", "bon(2)", "--opponent", "none")
    assert code == 0
    assert list(rows[0]) == ["procedure", "opponent", "select", "win_rate", *INTERVAL_KEYS]
    assert rows[0]["opponent"] == "none" and rows[0]["win_rate"] == pytest.approx(2 / 3)  # unless 3 is left out
    code, _, error = run("winrate", policy, reference, "--procedure", "bon(2)", "--opponent", "bon(2)")
    assert code == 2 and "reference.parquet" in error


def test_one_prompt_has_no_interval(run, tmp_path):
    one = table(tmp_path / "one.parquet", {"a": [1, 2, 3]})
    _, rows, _ = run("winrate", one, one, "--procedure", "bon(2)")
    assert rows[0]["win_rate"] == pytest.approx(0.5)
    assert (rows[0]["ci_low"], rows[0]["ci_high"], rows[0]["n_prompts"]) == (None, None, 1)


def test_winrate_options_change_the_interval_only(run, policy, reference):
    arguments = ("winrate", policy, reference, "--procedure", "none")
    _, wide, _ = run(*arguments, "--level", 0.99, "--resamples", 500, "--seed", 1)
    _, again, _ = run(*arguments, "--level", 0.99, "--resamples", 500, "--seed", 1)
    assert wide == again and wide[0]["level"] == 0.99


def tilted_win_rate(reward, judge, kl, n):
    """The identity tilt at a KL budget, best of n by reward, by bisection and sums over ranks."""
    k = reward.shape[1]
    ranks = (reward.argsort(1).argsort(1) + 0.5) / k
    low, high = 1e-3, 1e3
    for _ in range(200):
        beta = math.sqrt(low * high)
        weights = np.exp((ranks - 1) / beta)
        weights /= weights.sum(1, keepdims=True)
        mean_kl = np.mean(np.sum(weights * np.log(k * weights), axis=1))
        low, high = (beta, high) if mean_kl > kl else (low, beta)
    order = reward.argsort(1)
    sorted_judge = np.take_along_axis(judge, order, 1)
    below = np.cumsum(np.take_along_axis(weights, order, 1), 1)
    best = np.diff(below**n, axis=1, prepend=0)
    uniform = np.diff((np.arange(k + 1) / k) ** n)
    beats = sorted_judge[:, :, None] > sorted_judge[:, None, :]
    wins = np.einsum("pi,pij,j->p", best, beats + 0.5 * np.eye(k), uniform)
    return beta, np.mean(wins)


def test_frontier_is_the_exact_tilt(run, scores):
    frame = pl.read_parquet(scores)
    reward, judge = (frame[name].to_numpy().reshape(40, 50) for name in ("reward", "judge"))
    code, rows, _ = run("frontier", scores, "--transform", "identity", "--procedure", "none", "bon(4)", "--kl", 0.5)
    assert code == 0
    assert sorted(rows[0]) == sorted([*FRONTIER_KEYS, "select", *INTERVAL_KEYS])
    for row, n in zip(rows, (1, 4), strict=True):
        beta, win_rate = tilted_win_rate(reward, judge, 0.5, n)
        assert row["kl"] == pytest.approx(0.5, abs=1e-8)
        assert row["beta"] == pytest.approx(beta, rel=1e-6)
        assert row["win_rate"] == pytest.approx(win_rate, abs=1e-8)
        assert row["ci_low"] < row["win_rate"] < row["ci_high"] and row["n_prompts"] == 40


def test_frontier_takes_raw_and_warns_of_large_n(run, scores):
    code, rows, log = run("frontier", scores, "--transform", "raw", "--procedure", "bon(8)", "--kl", 0.5)
    assert code == 0 and rows[0]["transform"] == "raw" and "warning:" in log


# Bad input


def bad(run, *arguments):
    code, rows, log = run(*arguments)
    assert code == 2 and rows == []
    lines = log.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), log
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (
            ("ideal", "--transform", "square", "--procedure", "none", "--kl", "1"),
            ("'square'", "identity, log, exp(t)"),
        ),
        (
            ("ideal", "--transform", "log", "--procedure", "best(4)", "--kl", "1"),
            ("'best(4)'", "bon(n)", "won(n)"),
        ),
        (("ideal", "--transform", "raw", "--procedure", "none", "--kl", "1"), ("raw",)),
        (("ideal", "--transform", "log", "--procedure", "none"), ("--kl", "--beta", "got neither")),
        (
            ("ideal", "--transform", "log", "--procedure", "none", "--kl", "1", "--beta", "1"),
            ("--kl", "--beta", "got both"),
        ),
        (
            ("ideal", "--transform", "log", "--procedure", "none", "--beta", "0"),
            ("--beta must be", "> 0, got 0.0"),
        ),
        (("ideal", "--transform", "log", "--procedure", "none", "--beta", "-1"), ("> 0, got -1.0",)),
        (("ideal", "--transform", "log", "--procedure", "none", "--kl", "nan"), ("--kl must be", "got nan")),
        (("optimal", "--procedure", "bon(0)", "--kl", "1"), ("bon(0)",)),
        (("procedure",), ("at least one value",)),
        (
            ("ideal", "--transform", "log", "--transform", "identity", "--procedure", "none", "--kl", "1"),
            ("--transform is given 2 times; give it once",),
        ),
    ],
)
def test_bad_theory_input(run, arguments, parts):
    message = bad(run, *arguments)
    for part in parts:
        assert part in message


def test_kl_out_of_reach(run, scores):
    message = bad(run, "frontier", scores, "--transform", "identity", "--procedure", "none", "--kl", 4.0)
    assert "kl must be below 3.91202 nats, the largest that 50 rollouts per prompt can reach" in message
    assert "got 4.0" in message


@pytest.mark.parametrize("arguments", [("nonsense",), (), ("ideal", "--transfrom", "log"), ("ideal", "--kl", "x")])
def test_usage_errors_exit_with_2(run, arguments):
    assert run(*arguments)[0] == 2


def winrate_error(run, policy, reference, procedure="bon(2)"):
    return bad(run, "winrate", policy, reference, "--procedure", procedure)


def test_missing_file(run, tmp_path, reference):
    assert "nowhere.parquet: no such file" in winrate_error(run, tmp_path / "nowhere.parquet", reference)


def test_missing_column(run, policy, reference):
    pl.read_parquet(policy).drop("judge").write_parquet(policy)
    assert "policy.parquet: missing column judge; it has prompt_id" in winrate_error(run, policy, reference)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None])
def test_reward_not_finite(run, tmp_path, reference, value):
    rows = pl.DataFrame({"prompt_id": ["a", "b"], "sample_id": [0, 0], "reward": [1.0, value], "judge": [1.0, 1.0]})
    rows.write_parquet(tmp_path / "policy.parquet")
    message = winrate_error(run, tmp_path / "policy.parquet", reference)
    assert "column reward must be finite" in message and "prompt_id 'b'" in message


def test_duplicates(run, policy, reference):
    frame = pl.read_parquet(policy)
    pl.concat([frame, frame.head(1)]).write_parquet(policy)
    message = winrate_error(run, policy, reference)
    assert "duplicate (prompt_id, sample_id): prompt_id 'a', sample_id 0 occurs 2 times" in message


def test_prompt_in_one_table_only(run, policy, reference, tmp_path):
    pl.read_parquet(policy).filter(pl.col("prompt_id") == "a").write_parquet(policy)
    message = winrate_error(run, policy, reference)
    assert "prompt_id 'b' is not in" in message and message.index("reference.parquet") < message.index("'b'")
    out = tmp_path / "out.parquet"
    assert "prompt_id 'b' is not in" in bad(run, "calibrate", reference, policy, "--out", out)
    assert not out.exists()


def test_empty_table(run, policy, reference):
    pl.read_parquet(policy).clear().write_parquet(policy)
    assert "policy.parquet: the table has no rows" in winrate_error(run, policy, reference)


def test_truncated_parquet(run, policy, reference):
    policy.write_bytes(policy.read_bytes()[:-40])
    assert "policy.parquet: not a readable Parquet table" in winrate_error(run, policy, reference)


def test_more_candidates_than_samples(run, policy, reference):
    message = winrate_error(run, policy, reference, "bon(5)")
    assert "bon(5) needs at least 5 responses a prompt, prompt_id 'a' has 4" in message


def test_all_tied(run, tmp_path):
    tied = table(tmp_path / "tied.parquet", {"a": [1, 1, 1], "b": [2, 2, 2]})
    out = tmp_path / "out.parquet"
    text = "all values of reward are tied within every prompt"
    assert text in winrate_error(run, tied, tied)
    assert text in bad(run, "calibrate", tied, tied, "--out", out) and not out.exists()
    assert text in bad(run, "frontier", tied, "--transform", "identity", "--procedure", "none", "--kl", 0.1)


def test_too_few_rollouts(run, tmp_path):
    few = table(tmp_path / "few.parquet", {"a": [1, 2], "b": [3]})
    out = tmp_path / "out.parquet"
    message = bad(run, "calibrate", few, few, "--out", out)
    assert "empirical needs at least 2 responses a prompt, prompt_id 'b' has 1" in message
    assert run("calibrate", few, few, "--calibrator", "anchors(1)", "--out", out)[0] == 0


def test_unequal_numbers_of_rollouts(run, tmp_path):
    uneven = table(tmp_path / "uneven.parquet", {"a": [1, 2, 3], "b": [3, 4]})
    message = bad(run, "frontier", uneven, "--transform", "identity", "--procedure", "none", "--kl", 0.1)
    assert "same number of responses, got from 2 to 3" in message


def test_unknown_calibrator(run, tmp_path, reference):
    message = bad(run, "calibrate", reference, reference, "--calibrator", "median", "--out", tmp_path / "o")
    assert "'median'" in message and "empirical" in message and "anchors(p)" in message


def test_leave_one_out_needs_matching_samples(run, tmp_path, reference):
    out, other = tmp_path / "out.parquet", tmp_path / "other.parquet"
    pl.read_parquet(reference).with_columns(pl.col("sample_id") + 100).write_parquet(other)
    arguments = ("calibrate", reference, other, "--leave-one-out", "--out", out)
    assert "no (prompt_id, sample_id) of" in bad(run, *arguments)
    pl.read_parquet(reference).with_columns(pl.col("reward") + 1).write_parquet(other)
    assert "prompt_id 'a', sample_id 0 has reward 2.0" in bad(run, *arguments)
    pl.read_parquet(reference).drop("sample_id").write_parquet(other)
    assert "missing column sample_id" in bad(run, *arguments)
    assert not out.exists()


@pytest.mark.parametrize(
    ("option", "text"),
    [
        (("--level", 1.5), "--level must lie"),
        (("--resamples", 0), "--resamples"),
        (("--seed", -1), "--seed must be"),
    ],
)
def test_bad_interval_options(run, policy, reference, option, text):
    assert text in bad(run, "winrate", policy, reference, "--procedure", "none", *option)


def test_output_that_cannot_be_written(run, tmp_path, reference):
    out = tmp_path / "folder"
    (out / "inside").mkdir(parents=True)
    message = bad(run, "calibrate", reference, reference, "--out", out)
    assert str(out) in message and list(tmp_path.glob(".*")) == []


def test_failed_calibration_keeps_an_older_output(run, tmp_path, reference):
    out = tmp_path / "out.parquet"
    run("calibrate", reference, reference, "--out", out)
    before = out.read_bytes()
    reference.write_bytes(b"PAR1 not a table")
    assert "not a readable Parquet table" in bad(run, "calibrate", reference, reference, "--out", out)
    assert out.read_bytes() == before and not list(tmp_path.glob("*.partial"))


# The installed command


def installed(*arguments, **options):
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from infalign.cli import main; sys.exit(main())",
            *map(str, arguments),
        ],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def test_in_a_process_of_its_own(policy, reference, tmp_path):
    done = installed("winrate", policy, reference, "--procedure", "none")
    assert done.returncode == 0 and json.loads(done.stdout)["n_prompts"] == 2 and done.stderr == ""
    failed = installed("procedure", "magic(3)")
    assert failed.returncode == 2 and failed.stdout == "" and "Traceback" not in failed.stderr


def test_a_reader_that_stops_early():
    program = "import sys; from infalign.cli import main; sys.exit(main(['procedure'] + ['bon(4)'] * 5000))"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


def test_ideal_does_not_import_torch():
    program = (
        "import sys; from infalign.cli import main; "
        "main(['ideal', '--transform', 'log', '--procedure', 'none', '--kl', '0.5']); "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules or 'polars' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0
