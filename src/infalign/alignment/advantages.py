"""From rewards to advantages: generalised advantage estimation and the baseline of a prompt's group."""

from __future__ import annotations

import numpy as np


def generalised_advantages(
    rewards: np.ndarray, values: np.ndarray, lengths: np.ndarray, *, discount: float, gae_lambda: float
) -> tuple[np.ndarray, np.ndarray]:
    """Estimate each token's advantage and return (advantage + value), 0 past the end of a response.

    Parameters
    ----------
    rewards, values : ndarray, shape (n, T)
        Reward of each token, and value of the state it was drawn in; entries past the end are ignored.
    lengths : ndarray, shape (n,)
        Tokens of each response, at least 1.
    discount, gae_lambda : float
        In [0, 1]. With gae_lambda 1 the advantage is the return less the value, with 0 the one-step error.

    References
    ----------
    Schulman et al. 2016, High-dimensional continuous control using generalised advantage estimation, eq. 16.

    Examples
    --------
    >>> advantages, returns = generalised_advantages(
    ...     np.array([[0.0, 1.0]]), np.array([[0.5, 0.25]]), np.array([2]), discount=1.0, gae_lambda=0.5)
    >>> advantages.tolist(), returns.tolist()
    ([[0.125, 0.75]], [[0.625, 1.0]])
    """
    present = np.arange(rewards.shape[1]) < np.asarray(lengths)[:, None]
    values = np.where(present, values, 0.0)
    rewards = np.where(present, rewards, 0.0)
    following = np.concatenate([values[:, 1:], np.zeros((len(values), 1))], axis=1)
    errors = rewards + discount * following - values
    advantages = np.zeros_like(values)
    carried = np.zeros(len(values))
    for step in reversed(range(values.shape[1])):
        carried = (errors[:, step] + discount * gae_lambda * carried) * present[:, step]
        advantages[:, step] = carried
    return advantages, np.where(present, advantages + values, 0.0)


def token_rewards(
    terminal: np.ndarray, penalties: np.ndarray, lengths: np.ndarray, group_size: int | None
) -> np.ndarray:
    """Rewards of each token, shape (n, T): penalties, and on the last token the response's reward; less a baseline.

    The baseline is the mean of the group's other returns from the same position on; a group is `group_size`
    consecutive rows of one prompt (None: no baseline). It does not depend on the row's own tokens, so it leaves
    the gradient's expectation unchanged.

    Parameters
    ----------
    terminal, lengths : ndarray, shape (n,)
        Reward and number of tokens of each response.
    penalties : ndarray, shape (n, T)
        Negative rewards of the tokens, 0 past the end.
    group_size : int or None
        At least 2.

    References
    ----------
    Ahmadian et al. 2024, Back to basics: revisiting REINFORCE-style optimisation (leave-one-out baseline).

    Examples
    --------
    >>> token_rewards(np.array([1.0, 3.0]), np.zeros((2, 2)), np.array([1, 2]), 2).tolist()
    [[-2.0, 0.0], [0.0, 2.0]]
    """
    rows, last = np.arange(len(terminal)), np.asarray(lengths) - 1
    rewards = np.array(penalties, dtype=float)
    terminal = np.asarray(terminal, dtype=float)
    if group_size is not None:
        others = _mean_of_others(rewards, group_size)
        present = np.arange(rewards.shape[1]) < np.asarray(lengths)[:, None]
        terminal = terminal - _mean_of_others(terminal, group_size) - (others * ~present).sum(axis=1)
        rewards = rewards - others * present
    rewards[rows, last] += terminal
    return rewards


def _mean_of_others(values: np.ndarray, group_size: int) -> np.ndarray:
    groups = values.reshape(-1, group_size, *values.shape[1:])
    return ((groups.sum(axis=1, keepdims=True) - groups) / (group_size - 1)).reshape(values.shape)
