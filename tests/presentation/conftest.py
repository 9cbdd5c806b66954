"""Small tables of a world whose numbers are known, in the form of a run's results."""

from itertools import product

import numpy as np
import polars as pl
import pytest

TASKS = {"helpful": ("bon", "exp(10)"), "harmless": ("won", "exp(-10)")}
KLS = (0.1, 0.25, 0.5, 1.0, 2.0)
STRENGTHS = (0.25, 0.5, 1.0)
# Gain at KL 0.5 over one half, by reward, for every procedure alike.
GAINS = {
    "raw": 0.10,
    "identity": 0.14,
    "log": 0.13,
    "exp(5)": 0.16,
    "exp(10)": 0.18,
    "exp(-5)": 0.16,
    "exp(-10)": 0.18,
}


def gain_at(kl, gain):
    """Linear in the root of KL, as the interpolation that claims use, so that they are exact here."""
    return 0.5 + gain * np.sqrt(np.asarray(kl) / 0.5)


def procedures(task):
    return ["none", *(f"{TASKS[task][0]}({n})" for n in (2, 4, 32))]


@pytest.fixture
def ideal():
    rows = []
    for procedure in ("none", "bon(2)", "bon(4)", "bon(32)", "won(2)", "won(4)", "won(32)"):
        names = [*(name for name in GAINS if name != "raw"), f"optimal({procedure})"]
        for (index, name), kl in product(enumerate(names), KLS):
            gain = 0.22 if name.startswith("optimal") else GAINS[name]
            rows.append(
                (name, procedure, kl, 0.1, 0.5 + (gain - 0.001 * index) * (kl / (kl + 0.5)) ** 0.5 * 1.4)
            )
    return pl.DataFrame(rows, schema=["transform", "procedure", "kl", "beta", "win_rate"], orient="row")


@pytest.fixture
def offline():
    rows = []
    for task in TASKS:
        for procedure, name, select, kl in product(procedures(task), GAINS, ("reward", "judge"), KLS[:-1]):
            win_rate = gain_at(kl, GAINS[name] + 0.02)
            rows.append(
                (task, name, procedure, select, "judge", kl, 0.1, win_rate, win_rate - 0.01, win_rate + 0.01)
            )
    columns = [
        "task",
        "transform",
        "procedure",
        "select",
        "scorer",
        "kl",
        "beta",
        "win_rate",
        "ci_low",
        "ci_high",
    ]
    return pl.DataFrame(rows, schema=columns, orient="row")


def policies(task):
    """Rewards and calibrators trained on a task."""
    special = TASKS[task][1]
    return [("raw", None), ("identity", "empirical"), (special, "empirical"), (special, "anchors(1)")]


def prompt_rows(task, transform, calibrator, strength, gain, *, n_prompts, noise, rng, scorers):
    suffix = "" if calibrator in (None, "empirical") else "-anchors1"
    slug = f"ppo-{transform.replace('(', '').replace(')', '')}{suffix}-kl{strength:.2f}-s0"
    kl = strength * (1 + 0.1 * rng.standard_normal(n_prompts))
    kl += strength - kl.mean()
    for procedure, select, scorer in product(procedures(task), ("reward", "judge"), scorers):
        win_rate = gain_at(strength, gain) + noise * rng.standard_normal(n_prompts)
        for prompt in range(n_prompts):
            key = (task, slug, procedure, select, scorer, f"{task}-{prompt:03d}")
            yield (*key, float(win_rate[prompt]), float(kl[prompt]))


def build_prompt_metrics(gains, *, n_prompts=40, noise=0.02, seed=0, scorers=("judge",)):
    """Win rates by prompt of every policy, with the given gains at KL 0.5."""
    rng = np.random.default_rng(seed)
    rows = [
        row
        for task in TASKS
        for (transform, calibrator), strength in product(policies(task), STRENGTHS)
        for row in prompt_rows(
            task, transform, calibrator, strength, gains[transform],
            n_prompts=n_prompts, noise=noise, rng=rng, scorers=scorers,
        )
    ]  # fmt: skip
    columns = ["task", "policy", "procedure", "select", "scorer", "prompt_id", "win_rate", "kl"]
    return pl.DataFrame(rows, schema=columns, orient="row")


def build_metrics(prompt_metrics):
    """The metrics that go with a table by prompt, with intervals from standard errors."""
    keys = ["task", "policy", "procedure", "select", "scorer"]
    means = prompt_metrics.group_by(keys, maintain_order=True).agg(
        pl.col("win_rate", "kl").mean(),
        *(1.96 * pl.col(name).std() / pl.len().sqrt().alias("n") for name in ()),
        (1.96 * pl.col("win_rate").std() / pl.len().sqrt()).alias("half"),
        (1.96 * pl.col("kl").std() / pl.len().sqrt()).alias("kl_half"),
    )
    facts = {}
    for task in TASKS:
        for (transform, calibrator), strength in product(policies(task), STRENGTHS):
            suffix = "" if calibrator in (None, "empirical") else "-anchors1"
            slug = f"ppo-{transform.replace('(', '').replace(')', '')}{suffix}-kl{strength:.2f}-s0"
            facts[slug] = (slug, "ppo", transform, calibrator, 100, "kl", strength, 0)
    columns = [
        "policy",
        "method",
        "transform",
        "calibrator",
        "n_rollouts",
        "strength_kind",
        "strength",
        "seed",
    ]
    described = pl.DataFrame(list(facts.values()), schema=columns, orient="row")
    share = pl.when(pl.col("transform") != "raw").then(0.8 + 0.1 * pl.col("kl").clip(0, 1))
    return means.join(described, on="policy", maintain_order="left").select(
        *keys, *columns[1:],
        "win_rate", "kl",
        ci_low=pl.col("win_rate") - pl.col("half"), ci_high=pl.col("win_rate") + pl.col("half"),
        kl_low=pl.col("kl") - pl.col("kl_half"), kl_high=pl.col("kl") + pl.col("kl_half"),
        split=pl.lit("evaluation"), share_of_limit=share, mean_length=pl.lit(20.0),
    )  # fmt: skip


@pytest.fixture
def prompt_metrics():
    return build_prompt_metrics(GAINS)


@pytest.fixture
def metrics(prompt_metrics):
    return build_metrics(prompt_metrics)


@pytest.fixture
def scores():
    """Rewards whose prompts differ in place and scale: miscalibrated in a known way."""
    rng = np.random.default_rng(3)
    rows = [
        (f"p{prompt:02d}", sample, float(rng.normal(rng.normal(0, 1.2), 0.8)))
        for prompt in range(20)
        for sample in range(100)
    ]
    return pl.DataFrame(rows, schema=["prompt_id", "sample_id", "reward"], orient="row")
