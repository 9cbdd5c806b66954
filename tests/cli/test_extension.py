"""A new procedure and a new transform, one class each, through every command and a figure; and what is left out."""

import json
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from scipy.integrate import quad
from scipy.special import comb

from infalign.cli import main
from infalign.mathematics import procedures, transforms
from infalign.mathematics.procedures.base import WHOLE_N, Procedure, checked_quantiles
from infalign.mathematics.transforms import Transform
from infalign.presentation.style import procedure_name
from infalign.presentation.win_rates import draw_transforms
from infalign.records.config import Evaluation
from presentation.stored_tables import Tables


@dataclass(frozen=True)
class SecondOf(Procedure):
    """The second best of n draws, which one outlier cannot fool."""

    n: float = field()

    name = "second"
    numbers = (WHOLE_N,)
    theta = "n"
    theta_range = (2.0, np.inf)

    @property
    def display_name(self):
        return f"second of {self.n}"

    def curve(self, p, q):
        n = self.n
        value = n * p ** (n - 1) - (n - 1) * p**n
        return (
            value,
            n * (n - 1) * p ** (n - 2) * q,
            n * (n - 1) * ((n - 2) * p ** (n - 3) * q - p ** (n - 2)),
        )

    def rank_weights(self, m):
        below = np.arange(m)
        return comb(below, self.n - 2) * (m - 1 - below) / comb(m, self.n)

    @classmethod
    def largest_theta(cls, m):
        return float(m)

    def distribution_derivative(self, u):
        u, n = checked_quantiles(u), self.n
        log = np.log(np.where(u > 0, u, 1.0))
        return u ** (n - 1) * (1 + n * log) - u**n * (1 + (n - 1) * log)

    @classmethod
    def candidates(cls, max_draws):
        return [cls(n) for n in range(3, int(max_draws) + 1)]


@dataclass(frozen=True)
class SquareRoot(Transform):
    """Φ(u) = √u."""

    name = "root"
    candidates = ("root",)

    def value(self, u):
        return np.sqrt(u)

    def below_top(self, u, complement):
        return -complement / (1 + np.sqrt(u))


@pytest.fixture
def add(monkeypatch):
    """List further classes as the package lists its own."""

    def call(*kinds):
        for kind in kinds:
            module, name = (procedures, "PROCEDURES") if issubclass(kind, Procedure) else (transforms, "TRANSFORMS")
            monkeypatch.setattr(module, name, (*getattr(module, name), kind))

    return call


@pytest.fixture
def run(capsys):
    """Run a command in this process: (exit code, rows of standard output, standard error)."""

    def call(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, [json.loads(line) for line in captured.out.splitlines()], captured.err

    return call


@pytest.fixture
def tables(tmp_path):
    """Scores of 6 prompts × 12 responses of a policy, whose judge agrees with the reward in part, and a reference."""
    rng = np.random.default_rng(5)
    frames = []
    for name in ("policy", "reference"):
        reward = rng.normal(size=(6, 12)) + (name == "policy")
        judge = reward + rng.normal(size=reward.shape)
        prompts, samples = np.indices(reward.shape).reshape(2, -1)
        columns = {"prompt_id": [f"p{i}" for i in prompts], "sample_id": samples}
        frame = pl.DataFrame(columns | {"reward": reward.ravel(), "judge": judge.ravel()})
        frame.write_parquet(tmp_path / f"{name}.parquet")
        frames.append((reward, judge))
    return tmp_path / "policy.parquet", tmp_path / "reference.parquet", frames


def second_density(u):
    return 3 * 2 * u * (1 - u)


def test_theory(run, add):
    add(SecondOf, SquareRoot)
    code, [row], _ = run("procedure", "second(3)")
    assert code == 0 and row["procedure"] == "second(3)" and row["mean_quantile"] == pytest.approx(0.5)
    divergence = quad(lambda u: second_density(u) * np.log(second_density(u)), 0, 1)[0]
    assert row["kl"] == pytest.approx(divergence, abs=1e-10)
    code, [row], _ = run("ideal", "--transform", "root", "--procedure", "second(3)", "--beta", 0.5)
    normaliser = quad(lambda u: np.exp(np.sqrt(u) / 0.5), 0, 1)[0]

    def below(u):
        return quad(lambda v: np.exp(np.sqrt(v) / 0.5), 0, u)[0] / normaliser

    losses = quad(lambda u: (3 * below(u) ** 2 - 2 * below(u) ** 3) * second_density(u), 0, 1)[0]
    assert code == 0 and row["win_rate"] == pytest.approx(1 - losses, abs=1e-8)
    code, [best], _ = run("optimal", "--procedure", "second(3)", "--kl", row["kl"])
    assert code == 0 and best["win_rate"] > row["win_rate"]


def test_win_rate(run, add, tables):
    add(SecondOf)
    policy, reference, frames = tables

    def judged(reward, judge):  # of every subset's second best
        return [judge[list(s)][np.argsort(reward[list(s)])[-2]] for s in combinations(range(12), 3)]

    rates = []
    for i in range(6):
        ours, theirs = (np.array(judged(reward[i], judge[i])) for reward, judge in frames)
        rates.append((ours[:, None] > theirs).mean())
    code, [row], _ = run("winrate", policy, reference, "--procedure", "second(3)")
    assert code == 0 and row["win_rate"] == pytest.approx(np.mean(rates), abs=1e-12)


@pytest.mark.filterwarnings("ignore:.*draws")
def test_frontier_hedge_and_plan(run, add, tables):
    add(SecondOf, SquareRoot)
    policy, _, frames = tables
    code, [row], _ = run("frontier", policy, "--transform", "root", "--procedure", "second(3)", "--kl", 0.2)
    assert code == 0 and 0.5 < row["win_rate"] < 1 and row["kl"] == pytest.approx(0.2)
    code, [row], _ = run("hedge", policy, "--method", "second")
    reward, judge = frames[0]
    grid = np.linspace(2, 12, 1001)
    levels = np.array([[n * u ** (n - 1) - (n - 1) * u**n for u in np.arange(13) / 12] for n in grid])
    ordered = np.take_along_axis(judge, np.argsort(reward, axis=1), axis=1).mean(axis=0)
    assert code == 0 and row["expected_true"] == pytest.approx((np.diff(levels) @ ordered).max(), abs=1e-4)
    assert row["n"] in (int(row["parameter"]), int(row["parameter"]) + 1)
    code, [row], _ = run("plan", policy, "--max-kl", 0.3, "--max-n", 3)
    assert code == 0 and row["n_mean"] <= 3
    assert [each.text for each in procedures.parse_procedure("second(3)").candidates(4)] == [
        "second(3)",
        "second(4)",
    ]


def test_plan_tries_what_a_new_class_names(run, add, tables, monkeypatch):
    monkeypatch.setattr(procedures, "PROCEDURES", (procedures.NoProcedure, SecondOf))
    monkeypatch.setattr(transforms, "TRANSFORMS", (SquareRoot,))
    code, [row], _ = run("plan", tables[0], "--max-kl", 0.3, "--max-n", 3)
    assert code == 0 and row["transform"] == "root" and row["procedure"] in ("none", "second(3)")


def test_figure(run, add):
    add(SecondOf, SquareRoot)
    words = ["--transform", "root", "identity", "--procedure", "bon(4)", "--kl", 0.1, 0.5, 1.0]
    figure = draw_transforms(Tables(ideal=pl.DataFrame(run("ideal", *words)[1])))
    labels = [text.get_text() for axis in figure.axes if axis.get_legend() for text in axis.get_legend().texts]
    assert labels == ["identity", "root"] and procedure_name("second(3)") == "second of 3"


# What a class leaves out


@dataclass(frozen=True)
class Named(Procedure):
    strength: float

    name = "named"
    numbers = (WHOLE_N,)
    theta = "strength"


@dataclass(frozen=True)
class Curved(Named):
    name = "curved"

    def curve(self, p, q):
        return p, np.ones_like(p), np.zeros_like(p)


@dataclass(frozen=True)
class Nameless(Procedure):
    n: int = field()


@dataclass(frozen=True)
class Unread(Procedure):
    n: int = field()

    name = "unread"


@dataclass(frozen=True)
class Bare(Transform):
    name = "bare"


IDEAL, FRONTIER = ("ideal", "--kl", 0.1), ("frontier", "POLICY", "--kl", 0.1)


@pytest.mark.filterwarnings("ignore:.*draws")
@pytest.mark.parametrize(
    ("kind", "words", "message"),
    [
        (Named, ("procedure", "named(2)"), "procedure named (class Named) leaves out curve, "),
        (Named, (*IDEAL, "--transform", "log", "--procedure", "named(2)"), "(class Named) leaves out curve"),
        (Curved, ("winrate", "POLICY", "REFERENCE", "--procedure", "curved(2)"), "leaves out min_samples"),
        (Curved, (*FRONTIER, "--transform", "log", "--procedure", "curved(2)"), "leaves out mean_draws"),
        (Curved, ("hedge", "POLICY", "--method", "curved", "--max", 3), "leaves out distribution_derivative"),
        (Curved, ("plan", "POLICY", "--max-kl", 0.1, "--max-n", 2), "(class Curved) leaves out candidates"),
        (SecondOf, ("hedge", "POLICY", "--method", "won"), "class WorstOf leaves out theta"),
        (Nameless, ("procedure", "none"), "(class Nameless) leaves out name"),
        (Unread, ("procedure", "unread(2)"), "(class Unread) leaves out numbers"),
        (Bare, (*IDEAL, "--transform", "bare", "--procedure", "none"), "(class Bare) leaves out below_top"),
        (Bare, (*FRONTIER, "--transform", "bare", "--procedure", "none"), "(class Bare) leaves out value"),
        (Bare, ("plan", "POLICY", "--max-kl", 0.1, "--max-n", 2), "transform bare (class Bare) leaves out candidates"),
        (SquareRoot, ("winrate", "POLICY", "REFERENCE", "--procedure", "tilt(2)"), "(class ExactTilt)"),
    ],
)  # fmt: skip
def test_a_missing_piece_is_named(run, add, tables, kind, words, message):
    add(kind)
    paths = {"POLICY": tables[0], "REFERENCE": tables[1]}
    code, rows, log = run(*(paths.get(word, word) for word in words))
    assert (code, rows) == (2, []) and message in log


@pytest.mark.parametrize(
    ("use", "piece"),
    [
        (lambda kind: kind.display_name, "display_name"),
        (lambda kind: kind.rank_weights(4), "rank_weights"),
        (lambda kind: kind.distribution_derivative(0.5), "distribution_derivative"),
        (lambda kind: kind.sample(np.array([0.2, 0.8]), np.random.default_rng(0), 3), "draw_counts"),
    ],
)
def test_a_missing_piece_of_a_procedure_is_named_in_python(use, piece):
    with pytest.raises(ValueError, match=rf"curved \(class Curved\) leaves out {piece}, "):
        use(Curved(2))


def test_a_run_refuses_a_procedure_that_samples_cannot_measure():
    with pytest.raises(ValueError, match=r"class ExactTilt\) leaves out min_samples"):
        Evaluation(procedures=["bon(8)", "tilt(2)"])
