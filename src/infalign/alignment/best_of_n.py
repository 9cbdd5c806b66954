"""Variational best-of-N: PPO maximises the log-probability under best-of-N.

With F(y) the reference's probability of a response that ranks below y,

    π_BoN(y) = Σ_{i=1}^{N} C(N, i) F^{N−i} π_ref^i = (F + π_ref)^N − F^N,

and −KL(π ‖ π_BoN) = E_π[log π_BoN − log π_ref] − KL(π ‖ π_ref): the value of a response is the log-ratio of
best-of-N to the reference, and β is 1. The lower bound L has (N − 1)·log F in its place.

Equal rewards need a fixed total order. It is that of log π_ref: of two responses with equal rewards, the
likelier one ranks higher. Training needs only the reward and π_ref of a response for it, and both are
stored with the rollouts. The order is total up to responses with equal reward and equal π_ref. In practice
these are one response drawn twice, which does not rank below itself. Distinct responses with both equal are
not counted below each other; then π_BoN sums to less than 1.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from infalign.alignment.rollouts import check_n_rollouts, rollouts_by_prompt
from infalign.errors import InputError
from infalign.mathematics.exponential_curve import fit_exponential_curve
from infalign.records.methods import VBoNSettings
from infalign.records.policy import Policy

Form = Literal["exact", "bound"]
SAME = 1e-3  # nats; two measurements of one response's log-probability differ by less (float32)


def log_gain_of_best(log_below: ArrayLike, log_probs: ArrayLike, n: int) -> NDArray[np.float64]:
    """Log of how much likelier best-of-n makes a response than the reference does.

    log[((F + π)^n − F^n)/π] = (n − 1)·log(F + π) + log Σ_{k<n} ρ^k with ρ = F/(F + π). The sum of n terms
    is taken in closed form; no two nearly equal numbers are subtracted.

    Parameters
    ----------
    log_below : array-like
        log F in nats, at most log(1 − π); −inf where nothing ranks below.
    log_probs : array-like
        log π of the response under the reference, in nats, finite, at most 0.

    Returns
    -------
    ndarray
        From (n − 1)·log(F + π) to log n.

    References
    ----------
    Amini et al. 2025, Variational best-of-N alignment, proposition 1.

    Examples
    --------
    >>> np.exp(log_gain_of_best(np.log([0.75, 0.25]), np.log([0.25, 0.25]), 2)).round(6).tolist()
    [1.75, 0.75]
    """
    log_below, log_probs = np.asarray(log_below, dtype=float), np.asarray(log_probs, dtype=float)
    log_ratio = -np.logaddexp(0.0, log_probs - log_below)  # log ρ
    log_up_to = np.minimum(np.logaddexp(log_below, log_probs), 0.0)
    with np.errstate(invalid="ignore"):
        total = np.expm1(n * log_ratio) / np.expm1(log_ratio)
    return (n - 1) * log_up_to + np.log(np.where(log_ratio == 0, n, total))


def log_one_minus(log_probs: ArrayLike) -> NDArray[np.float64]:
    """Log of 1 − p from log p.

    Examples
    --------
    >>> log_one_minus(np.log([0.75, 1.0])).round(6).tolist()
    [-1.386294, -inf]
    """
    with np.errstate(divide="ignore"):
        return np.log(-np.expm1(log_probs))


@dataclass(frozen=True)
class BestOfN:
    """E[value] − KL(policy ‖ reference) towards best-of-n; made by `build_best_of_n_objective`.

    Parameters
    ----------
    rewards, log_probs : ndarray, shape (prompts, M)
        Of the rollouts of the prompts in `prompt_ids`.
    curves : ndarray, shape (prompts, 4), optional
        a, b, center and spread of log F = −a·exp(−b·(reward − center)/spread); None: the counted F.
    beta : float
        Weight of the KL to the reference; at 1 the objective of `exact` is minus the divergence to best-of-n.
    """

    n: int
    form: Form
    prompt_ids: Sequence[str]
    rewards: NDArray[np.float64]
    log_probs: NDArray[np.float64]
    curves: NDArray[np.float64] | None = None
    beta: float = 1.0

    def values(
        self, prompt_ids: Sequence[str], rewards: np.ndarray, reference_log_probs: np.ndarray | None = None
    ) -> np.ndarray:
        """Turn rewards into the values whose mean is maximised, shape (rows,); they are 0 for n = 1.

        F is estimated by (1 + b)/(M + 1), where b of the M rollouts rank below the response. This is the
        transform `log`, and no logarithm of 0 is taken. `exact` limits F to 1 − π_ref, as the true F is, and
        orders equal rewards as the module says; its values are at most log n. `bound` counts lower rewards only: it
        is (n − 1) times the transform `log`, at most 0.

        Parameters
        ----------
        reference_log_probs : ndarray, shape (rows,), optional
            Nats, summed over the response; `bound` does not read them.

        Raises
        ------
        InputError
            A prompt has no rollouts, or `exact` is not given the log-probabilities.
        """
        rows = self._rows(prompt_ids)
        rewards = np.asarray(rewards, dtype=float)
        if self.form == "bound":
            return (self.n - 1) * self._log_below(rows, rewards)
        if reference_log_probs is None:
            raise InputError(
                "vBoN's exact objective needs the reference's log-probability of every response, got none; "
                "pass reference_log_probs, or use objective: bound"
            )
        log_probs = np.minimum(np.asarray(reference_log_probs, dtype=float), 0.0)  # rounding
        log_below = np.minimum(self._log_below(rows, rewards, log_probs), log_one_minus(log_probs))
        return log_gain_of_best(log_below, log_probs, self.n)

    def _rows(self, prompt_ids: Sequence[str]) -> list[int]:
        places = {prompt_id: row for row, prompt_id in enumerate(self.prompt_ids)}
        unknown = next((prompt_id for prompt_id in prompt_ids if prompt_id not in places), None)
        if unknown is not None:
            raise InputError(
                f"prompt_id {unknown!r} has no reference rollouts to rank among "
                f"({len(places)} prompts have); roll it out or leave it out"
            )
        return [places[prompt_id] for prompt_id in prompt_ids]

    def _log_below(
        self, rows: list[int], rewards: NDArray[np.float64], log_probs: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Log F; equal rewards are ordered by the log-probabilities where these are given."""
        if self.curves is not None:
            a, b, center, spread = self.curves[rows].T
            return -a * np.exp(-b * (rewards - center) / spread)
        samples = self.rewards[rows]
        below = samples < rewards[:, None]
        if log_probs is not None:
            likelier = log_probs[:, None] - self.log_probs[rows] > SAME
            below |= (samples == rewards[:, None]) & likelier
        return log_counted(below.sum(axis=1), samples.shape[1])

    @property
    def fingerprint(self) -> str:
        """Hash of everything that `values` depends on."""
        settings = [self.n, self.form, self.curves is not None, list(self.prompt_ids)]
        digest = hashlib.sha256(json.dumps(settings).encode())
        digest.update(self.rewards.tobytes() + self.log_probs.tobytes())
        return digest.hexdigest()

    @property
    def measures(self) -> dict[str, None]:
        """Entries of the policy's manifest: the method has no β of a paper."""
        return {"beta": None}


def log_counted(below: ArrayLike, n_rollouts: int) -> NDArray[np.float64]:
    """Log of F from how many of the rollouts rank below, log((1 + below)/(n_rollouts + 1)).

    Examples
    --------
    >>> np.exp(log_counted([0, 3], 3)).tolist()
    [0.25, 1.0]
    """
    return np.log((1.0 + np.asarray(below)) / (n_rollouts + 1))


def build_best_of_n_objective(
    scores: pl.DataFrame,
    n: float,
    *,
    objective: Form = "exact",
    n_rollouts: int | None = None,
    smooth: bool = False,
) -> BestOfN:
    """Make an objective of vBoN from the scored reference rollouts of the training prompts.

    Parameters
    ----------
    scores : polars.DataFrame
        Columns prompt_id, sample_id, reward, log_prob; the same number of rollouts for every prompt.
    n : float
        A whole number of at least 1. It may be above M, which only estimates F (Fig. 4: N = 10, M from 5).
    objective : str
        exact, the log-probability under best-of-n (eq. 5), or bound, L of theorem 2.
    n_rollouts : int, optional
        M: the first so many rollouts of each prompt estimate F; by default all.
    smooth : bool
        Take log F of each prompt from its least-squares fit −a·exp(−b·reward) (section 6). Equal rewards then
        have equal F, and below the lowest rollout the fit extrapolates.

    Raises
    ------
    InputError
        Any of these out of range, unequal numbers of rollouts, a number that is not finite, or a prompt that
        cannot be fitted.

    References
    ----------
    Amini et al. 2025, Variational best-of-N alignment, sections 3 and 4, appendices C and D.

    Examples
    --------
    >>> table = pl.DataFrame(
    ...     {"prompt_id": ["a"] * 3, "sample_id": range(3), "reward": [1.0, 2.0, 3.0], "log_prob": [-2.0] * 3}
    ... )
    >>> bound = build_best_of_n_objective(table, 3, objective="bound")
    >>> np.exp(bound.values(["a", "a"], np.array([0.0, 2.5]))).tolist()  # F = 1/4 and 3/4, squared
    [0.0625, 0.5625]
    """
    if objective not in get_args(Form):
        raise InputError(f"objective of vBoN must be exact or bound, got {objective!r}")
    prompt_ids, arrays = rollouts_by_prompt(scores, "reward", "log_prob")
    check_n_rollouts(n_rollouts, arrays[0].shape[1])
    rewards, log_probs = (np.ascontiguousarray(array[:, :n_rollouts]) for array in arrays)
    if n != int(n) or n < 1:
        raise InputError(f"n of best-of-n must be a whole number, at least 1, got {n:g}; change the strength")
    curves = None
    if smooth:
        curves = np.array([fit_curve(*row) for row in zip(prompt_ids, rewards, strict=True)])
    return BestOfN(int(n), objective, prompt_ids, rewards, log_probs, curves)


def vbon_objective(policy: Policy, settings: VBoNSettings, scores: pl.DataFrame) -> BestOfN:
    """Make the objective that a policy is trained for; see `build_best_of_n_objective`."""
    return build_best_of_n_objective(
        scores,
        policy.strength,
        objective=settings.objective,
        n_rollouts=policy.n_rollouts,
        smooth=settings.smooth,
    )


def fit_curve(prompt_id: str, rewards: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fit log F of one prompt's M rollouts by −a·exp(−b·z), z their standardised reward: a Gumbel law.

    Returns
    -------
    ndarray, shape (4,)
        a > 0, b > 0, and the center and spread of the reward.

    Raises
    ------
    InputError
        All rewards are equal, or the least squares do not converge; the message names the prompt.
    """
    center, spread = rewards.mean(), rewards.std()
    if spread == 0:
        raise InputError(
            f"log F of prompt_id {prompt_id!r} cannot be fitted: its {len(rewards)} rollouts have one "
            "reward; leave out smooth, or the prompt"
        )
    z = (rewards - center) / spread
    log_below = log_counted(np.searchsorted(np.sort(rewards), rewards), len(rewards))
    start = [np.log(np.log(2)), 0.0]  # F = ½ at the mean
    logs = fit_exponential_curve(z, log_below, start, prompt_id)
    return np.array([*np.exp(logs), center, spread])
