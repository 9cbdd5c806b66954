"""How far reward scores are from ranks: the tables behind the claims, and their figure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from infalign.errors import InputError
from infalign.mathematics.calibration import calibration_errors, mid_ranks, sigmoid_scores
from infalign.presentation.panels import LIMIT_LINE
from infalign.presentation.style import BLACK, CALIBRATION_LOOKS, print_style

FIXED_MAPS = ("identity", "square root", "square", "cube")
MAPS = (*FIXED_MAPS, "quantile")


def sigmoid_table(scores: pl.DataFrame) -> pl.DataFrame:
    """Tabulate reward scores in (0, 1) and the rank that each should equal.

    Parameters
    ----------
    scores : reference rollouts, columns prompt_id and reward; as many for each prompt.

    Returns
    -------
    prompt_id, score (sigmoid of the reward less the mean reward of all prompts) and rank (mid-rank among the
    prompt's rollouts, in (0, 1)); prompts in order of first appearance.

    Raises
    ------
    InputError
        Prompts with different numbers of rollouts, or rewards that are not finite.

    Examples
    --------
    >>> table = sigmoid_table(pl.DataFrame({"prompt_id": ["a", "a"], "reward": [-1.0, 1.0]}))
    >>> table["rank"].to_list()
    [0.25, 0.75]
    """
    rewards = _stacked_rewards(scores)
    prompts = scores["prompt_id"].unique(maintain_order=True).to_numpy()
    return pl.DataFrame(
        {
            "prompt_id": np.repeat(prompts, rewards.shape[1]),
            "score": sigmoid_scores(rewards, float(rewards.mean())).ravel(),
            "rank": mid_ranks(rewards).ravel(),
        }
    )


def errors_by_map(scores: pl.DataFrame, *, seed: int) -> dict[str, np.ndarray]:
    """Measure the absolute error |mapped score - rank| of every response and map.

    The fixed maps are measured on all rollouts. The quantile map is measured out of sample: a random half of
    each prompt's rollouts makes the table, the error is that of the other half against its own mid-ranks.

    Parameters
    ----------
    scores : reference rollouts, columns prompt_id and reward; as many for each prompt, at least 4.
    seed : draws the halves.

    Returns
    -------
    For each of MAPS an array (P, K), for the quantile map (P, K - K // 2), in [0, 1].

    Raises
    ------
    InputError
        Prompts with fewer than 4, or with different numbers of rollouts.

    References
    ----------
    Balashankar et al. 2025, InfAlign, section 6.2, figure 2 right.
    """
    rewards = _stacked_rewards(scores)
    if rewards.shape[1] < 4:
        raise InputError(
            f"calibration error: {rewards.shape[1]} rollouts a prompt; at least 4 are needed, half for "
            "the table and half to measure; sample more rollouts"
        )
    offset = float(rewards.mean())
    shuffled = np.random.default_rng(seed).permuted(rewards, axis=1)
    table, measured = np.split(shuffled, [rewards.shape[1] // 2], axis=1)
    errors = calibration_errors(rewards, rewards, offset)
    return errors | {"quantile": calibration_errors(measured, table, offset)["quantile"]}


def _stacked_rewards(scores: pl.DataFrame) -> np.ndarray:
    """Rewards as (prompts, rollouts), prompts in order of first appearance."""
    groups = scores.group_by("prompt_id", maintain_order=True).agg("reward")["reward"].to_list()
    sizes = sorted(map(len, groups))
    if sizes[0] != sizes[-1]:
        raise InputError(
            "calibration error: every prompt needs the same number of rollouts, "
            f"got from {sizes[0]} to {sizes[-1]}"
        )
    return np.array(groups, dtype=float)


def figure_calibration(
    scores: pl.DataFrame, *, task: str, n_prompts: int = 10, n_responses: int = 100, seed: int = 0
) -> Figure:
    """Draw how far reward scores are from calibrated, and what a per-prompt quantile map leaves.

    Left: score (the sigmoid of the reward less the mean reward of all prompts) against rank, for some
    prompts. Right: distribution of the absolute error |score - rank| over all prompts. The quantile map
    is measured out of sample: half of each prompt's rollouts make the table, the other half are measured.

    Parameters
    ----------
    scores : reference rollouts with columns prompt_id, sample_id, reward.
    task : name in the title.
    n_prompts, n_responses : how much the left panel shows.
    seed : draws the prompts shown and the halves.

    References
    ----------
    Balashankar et al., InfAlign (arXiv:2412.19792v1), section 6.2, figure 2.
    """
    with print_style():
        figure = Figure(figsize=(7.2, 3.5), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_scatter(left, sigmoid_table(scores), n_prompts, n_responses, np.random.default_rng([seed, 1]))
        _draw_error_distribution(right, errors_by_map(scores, seed=seed))
        figure.suptitle(f"Calibration of the reward model: {task}", fontsize=10.5)
    return figure


def _draw_scatter(axis: Axes, table: pl.DataFrame, n_prompts: int, n_responses: int, rng) -> None:
    prompts = table["prompt_id"].unique(maintain_order=True).to_numpy()
    shown = np.sort(rng.choice(prompts, size=min(n_prompts, len(prompts)), replace=False))
    palette = sns.color_palette("viridis", len(shown))
    markers = ("o", "s", "^", "v", "D", "P", "X", "<", ">", "h")
    axis.plot([0, 1], [0, 1], color=BLACK, linewidth=1.0, linestyle=LIMIT_LINE, label="calibrated", zorder=4)
    for index, prompt in enumerate(shown):
        part = table.filter(pl.col("prompt_id") == prompt).head(n_responses)
        axis.scatter(
            part["rank"], part["score"], s=9, marker=markers[index % len(markers)], color=palette[index],
            alpha=0.75, linewidths=0, zorder=3,
        )  # fmt: skip
    axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="Rank among the prompt's responses", ylabel="Reward score")
    axis.set_title(f"{len(shown)} prompts (one colour and marker each)")
    axis.legend(loc="upper left", handlelength=1.6)


def _draw_error_distribution(axis: Axes, errors: Mapping[str, np.ndarray]) -> None:
    for name in MAPS:
        values = errors[name].ravel()
        color, line = CALIBRATION_LOOKS[name]
        sns.ecdfplot(
            x=values, ax=axis, color=color, linestyle=line, label=f"{name} (mean {values.mean():.3f})"
        )
    axis.set(
        xlim=(0, 0.8), ylim=(0, 1.01), xlabel="Absolute error |score − rank|", ylabel="Share of responses"
    )
    axis.set_title("Distribution of the error, all prompts")
    axis.legend(loc="lower right", title="Map of the score", handlelength=2.2)
