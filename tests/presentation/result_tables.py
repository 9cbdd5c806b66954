"""A world whose numbers are known, in the form of a run's results."""

from itertools import product

import numpy as np
import polars as pl

TASKS = {"helpful": ("bon", "exp(10)"), "harmless": ("won", "exp(-10)")}
KLS = (0.1, 0.25, 0.5, 1.0, 2.0)
STRENGTHS = (0.25, 0.5, 1.0)
# Gain over one half at KL 0.5, by reward, under every procedure alike.
GAINS = {"raw": 0.1, "identity": 0.14, "log": 0.13, "exp(5)": 0.16, "exp(10)": 0.18}
GAINS |= {"exp(-5)": 0.16, "exp(-10)": 0.18}

# Further methods of task helpful: reward, strengths, KLs reached and gain over one half at KL 0.5.
BUDGETS, SIZES = ("kl", STRENGTHS), ("n", (1, 2, 4, 8))
SIZE_KLS = (0.0, 0.2, 0.6, 1.1)
METHODS = {
    "rloo": ("exp(10)", *BUDGETS, (0.22, 0.55, 1.1), 0.175),
    "regression": ("exp(10)", *BUDGETS, (0.25, 0.5, 1.0), 0.17),
    "dpo": (None, "beta", (0.05, 0.1, 0.5), (0.9, 0.6, 0.3), 0.12),
    "ipo": (None, *BUDGETS, (0.3, 0.6, 1.2), 0.13),
    "bon_sft": (None, *SIZES, SIZE_KLS, 0.11),
    "bonbon": (None, *SIZES, SIZE_KLS, 0.12),
    "bond": (None, *SIZES, SIZE_KLS, 0.14),
    "jbond": (None, "n", (2, 4, 8, 16), (0.05, 0.1, 0.2, 0.3), 0.1),
    "vbon": (None, *SIZES, SIZE_KLS, 0.15),
    "vbon_bound": (None, *SIZES, SIZE_KLS, 0.145),
}

PROMPT_COLUMNS = ["task", "policy", "procedure", "select", "scorer", "prompt_id", "win_rate", "kl"]
PROMPT_COLUMNS += ["reward_gain"]
REFERENCE_REWARD, REWARD_SLOPE = -1.0, 2.0  # a win rate of 0.6 is a reward of -0.8
POLICY_COLUMNS = [
    "policy", "method", "transform", "calibrator", "n_rollouts", "strength_kind", "strength", "seed",
]  # fmt: skip


def win_rate_at(kl, gain):
    """Linear in the root of KL, as the interpolation of the claims, which is then exact."""
    return 0.5 + gain * np.sqrt(kl / 0.5)


def procedures(task):
    return ["none", *(f"{TASKS[task][0]}({n})" for n in (2, 4, 32))]


def rewards(task):
    """Rewards and calibrators trained on a task."""
    special = TASKS[task][1]
    return [("raw", None), ("identity", "empirical"), (special, "empirical"), (special, "anchors(1)")]


def slug(transform, calibrator, strength):
    suffix = "-anchors1" if calibrator == "anchors(1)" else ""
    return f"ppo-{transform.replace('(', '').replace(')', '')}{suffix}-kl{strength:.2f}-s0"


def build_ideal():
    """Smooth frontiers, the optimal transform on top."""
    rows = []
    for procedure in ("none", "bon(2)", "bon(4)", "bon(32)", "won(2)", "won(4)", "won(32)"):
        names = [*(name for name in GAINS if name != "raw"), f"optimal({procedure})"]
        for (index, name), kl in product(enumerate(names), KLS):
            gain = GAINS.get(name, 0.22) - 0.001 * index
            rows.append((name, procedure, kl, 0.1, 0.5 + 1.4 * gain * (kl / (kl + 0.5)) ** 0.5))
    return pl.DataFrame(rows, schema=["transform", "procedure", "kl", "beta", "win_rate"], orient="row")


def build_offline():
    """Two points above the trained policies, known to one point."""
    rows = []
    for task in TASKS:
        for procedure, name, select, kl in product(procedures(task), GAINS, ("reward", "judge"), KLS[:-1]):
            rate = float(win_rate_at(kl, GAINS[name] + 0.02))
            rows.append((task, name, procedure, select, "judge", kl, 0.1, rate, rate - 0.01, rate + 0.01))
    columns = ["task", "transform", "procedure", "select", "scorer", "kl", "beta"]
    return pl.DataFrame(rows, schema=[*columns, "win_rate", "ci_low", "ci_high"], orient="row")


def build_prompt_metrics(
    gains, *, n_prompts=40, noise=0.02, seed=0, scorers=("judge",), tasks=tuple(TASKS), brief=False
):
    """Win rates by prompt of every policy, with the given gains at KL 0.5.

    `brief`: best-of-4 and no procedure, selected by the reward, only.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for task in tasks:
        prompts = [f"{task}-{index:03d}" for index in range(n_prompts)]
        selectors = ("reward",) if brief else ("reward", "judge")
        cases = list(product(("none", "bon(4)") if brief else procedures(task), selectors, scorers))
        for (transform, calibrator), strength in product(rewards(task), STRENGTHS):
            kl = strength * (1 + 0.1 * rng.standard_normal(n_prompts))
            kl += strength - kl.mean()
            for procedure, select, scorer in cases:
                rate = win_rate_at(strength, gains[transform]) + noise * rng.standard_normal(n_prompts)
                key = (task, slug(transform, calibrator, strength), procedure, select, scorer)
                columns = [*([value] * n_prompts for value in key), prompts, rate, kl]
                columns += [REWARD_SLOPE * (rate - 0.5)]
                parts.append(pl.DataFrame(dict(zip(PROMPT_COLUMNS, columns, strict=True))))
    return pl.concat(parts)


def build_metrics(prompt_metrics):
    """The metrics that go with a table by prompt, with intervals from standard errors."""
    described = {
        slug(*reward, strength): (slug(*reward, strength), "ppo", *reward, 100, "kl", strength, 0)
        for task in TASKS
        for reward, strength in product(rewards(task), STRENGTHS)
    }
    facts = pl.DataFrame(list(described.values()), schema=POLICY_COLUMNS, orient="row")
    raw = pl.col("transform") == "raw"
    facts = facts.with_columns(n_rollouts=pl.when(~raw).then("n_rollouts"))
    return _described(prompt_metrics, facts)


def _described(prompt_metrics, facts):
    """Means of a table by prompt with their policies' facts."""
    keys = ["task", "policy", "procedure", "select", "scorer"]
    half = {name: 1.96 * pl.col(name).std() / pl.len().sqrt() for name in ("win_rate", "kl")}
    means = prompt_metrics.group_by(keys, maintain_order=True).agg(
        pl.col("win_rate", "kl", "reward_gain").mean(), half=half["win_rate"], kl_half=half["kl"]
    )
    share = pl.when(pl.col("transform") != "raw").then(0.8 + 0.1 * pl.col("strength"))
    return means.join(facts, on="policy", maintain_order="left").with_columns(
        ci_low=pl.col("win_rate") - pl.col("half"), ci_high=pl.col("win_rate") + pl.col("half"),
        kl_low=pl.col("kl") - pl.col("kl_half"), kl_high=pl.col("kl") + pl.col("kl_half"),
        split=pl.lit("evaluation"), share_of_limit=share, mean_length=pl.lit(20.0),
        mean_reward=REFERENCE_REWARD + pl.col("reward_gain"),
    ).drop("reward_gain")  # fmt: skip


def build_methods(*, n_prompts=40, noise=0.02, seed=7):
    """Tables of the further METHODS, in the form of `build_metrics` and `build_prompt_metrics`."""
    rng = np.random.default_rng(seed)
    prompts = [f"helpful-{index:03d}" for index in range(n_prompts)]
    parts, described = [], []
    for method, (transform, kind, strengths, kls, gain) in METHODS.items():
        for strength, level in zip(strengths, kls, strict=True):
            policy = f"{method}-{kind}{strength}-s0"
            spread = rng.standard_normal(n_prompts)
            kl = level * (1 + 0.1 * (spread - spread.mean()))
            calibration = ("empirical", 100) if transform else (None, None)
            described.append((policy, method, transform, *calibration, kind, float(strength), 0))
            for procedure, select in product(procedures("helpful"), ("reward", "judge")):
                rate = win_rate_at(level, gain) + noise * rng.standard_normal(n_prompts)
                columns = [*([v] * n_prompts for v in ("helpful", policy, procedure, select, "judge"))]
                columns += [prompts, rate, kl, REWARD_SLOPE * (rate - 0.5)]
                parts.append(pl.DataFrame(dict(zip(PROMPT_COLUMNS, columns, strict=True))))
    facts = pl.DataFrame(described, schema=POLICY_COLUMNS, orient="row")
    by_prompt = pl.concat(parts)
    return _described(by_prompt, facts), by_prompt


def build_best_of_n(sizes=(1, 2, 4, 8), *, n_prompts=5):
    """Best-of-n of the reference by prompt: its win rate n/(n + 1), its reward as that of the policies."""
    rows = [
        ("helpful", n, "judge", f"helpful-{index:03d}", n / (n + 1), REFERENCE_REWARD + n / (n + 1) - 0.5)
        for n, index in product(sizes, range(n_prompts))
    ]
    columns = ["task", "n", "scorer", "prompt_id", "win_rate", "mean_reward"]
    return pl.DataFrame(rows, schema=columns, orient="row")


def build_scores():
    """Rewards whose prompts differ in place: miscalibrated in a known way."""
    rng = np.random.default_rng(3)
    values = rng.normal(rng.normal(0.0, 1.2, size=20)[:, None], 0.8, size=(20, 100))
    rows = [(f"p{prompt:02d}", sample, values[prompt, sample]) for prompt, sample in np.ndindex(20, 100)]
    return pl.DataFrame(rows, schema=["prompt_id", "sample_id", "reward"], orient="row")
