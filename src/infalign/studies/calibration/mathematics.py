"""How good a calibration from few rollouts or few anchors is: measured on rollouts that took no part in it."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infalign.errors import InputError
from infalign.mathematics.calibration import (
    Calibrator,
    anchored_calibration,
    empirical_calibration,
    fit_anchors,
    mid_ranks,
    parse_calibrator,
)
from infalign.mathematics.checks import finite_array
from infalign.mathematics.frontier import transformed_values, win_rates
from infalign.mathematics.procedures import Procedure, parse_procedure
from infalign.mathematics.tilting import beta_for_kl, tilt
from infalign.mathematics.transforms import Transform, parse_transform


def disjoint_draws(table: ArrayLike, n: int, most: int) -> NDArray[np.float64]:
    """Return sets of n rollouts of each prompt that share none, in the order they were drawn.

    Parameters
    ----------
    table : array-like, shape (P, K)
        Rewards of the rollouts.
    n : int
        Rollouts of a set, from 1 to K.
    most : int
        The largest number of sets, >= 1.

    Returns
    -------
    ndarray, shape (D, P, n)
        D = min(most, K // n) sets; the first holds the first n rollouts.

    Raises
    ------
    InputError
        If a reward is NaN or infinite, n is not from 1 to K, or `most` is below 1.

    Examples
    --------
    >>> disjoint_draws([[1.0, 2.0, 3.0, 4.0, 5.0]], 2, most=4)
    array([[[1., 2.]],
    <BLANKLINE>
           [[3., 4.]]])
    """
    table = finite_array(table, "table", 2)
    if not 1 <= n <= table.shape[1]:
        raise InputError(f"a set must have from 1 to {table.shape[1]} rollouts, those of a prompt, got {n}")
    if most < 1:
        raise InputError(f"there must be at least one set of rollouts, got {most}")
    sets = min(most, table.shape[1] // n)
    return table[:, : sets * n].reshape(len(table), sets, n).transpose(1, 0, 2)


def calibrated_rewards(
    measured: ArrayLike,
    table: ArrayLike,
    calibrator: str | Calibrator,
    offset: float | None,
    ties: str = "half",
) -> NDArray[np.float64]:
    """Return the calibrated rewards of responses by the rollouts of a table, prompt by prompt.

    Parameters
    ----------
    measured : array-like, shape (P, M)
        Rewards of the responses.
    table : array-like, shape (P, n)
        Rewards of the rollouts that calibrate them.
    calibrator : str or Calibrator
        empirical or anchors(p); n = 1 is allowed for anchors(1) only.
    offset : float or None
        The mean reference reward over all prompts, for anchors; None if rewards are probabilities.
    ties : {"half", "weak", "strict"}
        How the empirical calibration counts a tie.

    Returns
    -------
    ndarray, shape (P, M)
        In [0, 1].

    Raises
    ------
    InputError
        If a reward is NaN or infinite, the numbers of prompts differ, or n is too small.

    References
    ----------
    Balashankar et al. 2025, InfAlign, section 5 and the appendix on anchor points.

    Examples
    --------
    >>> calibrated_rewards([[2.5]], [[1.0, 2.0, 3.0, 4.0]], "empirical", None)
    array([[0.5]])
    """
    measured, table = finite_array(measured, "measured", 2), finite_array(table, "table", 2)
    if len(measured) != len(table):
        raise InputError(f"measured has {len(measured)} prompts, table has {len(table)}: they must be the same")
    calibrator = parse_calibrator(calibrator)
    if calibrator.p is None:
        return np.stack([empirical_calibration(*pair, ties) for pair in zip(measured, table, strict=True)])
    return np.stack(
        [
            anchored_calibration(rewards, fit_anchors(reference, offset, calibrator.p), offset)
            for rewards, reference in zip(measured, table, strict=True)
        ]
    )


def rank_errors(calibrated: ArrayLike, measured: ArrayLike) -> NDArray[np.float64]:
    """Return how far calibrated rewards are from the ranks of their responses.

    Parameters
    ----------
    calibrated : array-like, shape (..., P, M)
        In [0, 1].
    measured : array-like, shape (P, M)
        Rewards of the same responses.

    Returns
    -------
    ndarray, shape (..., P, M)
        |calibrated − rank|. The rank is the mid-rank among the prompt's M responses. An exact calibrated
        reward leaves the error of the rank itself, on average about 0.3 / √M.

    References
    ----------
    Balashankar et al. 2025, InfAlign, Fig. 2.

    Examples
    --------
    >>> rank_errors([[0.25, 1.0]], [[-3.0, 8.0]])
    array([[0.  , 0.25]])
    """
    return np.abs(finite_array(calibrated, "calibrated") - mid_ranks(finite_array(measured, "measured", 2)))


def tilted_win_rates(
    values: ArrayLike,
    beta: float,
    reward: ArrayLike,
    judge: ArrayLike,
    procedure: str | Procedure,
) -> NDArray[np.float64]:
    """Return each prompt's win rate of the exact tilt of scored responses, averaged over the first axis.

    Parameters
    ----------
    values : array-like, shape (D, P, M)
        What D policies tilt by; all have the weights ∝ exp(values / beta).
    beta : float
        > 0.
    reward, judge : array-like, shape (P, M)
        The procedure selects by the reward, the winner is by the judge.
    procedure : str or Procedure
        Of policy and reference alike, as in `frontier.offline`.

    Returns
    -------
    ndarray, shape (P,)
        In [0, 1].

    Examples
    --------
    >>> scores = np.arange(4.0)[None]
    >>> tilted_win_rates(np.zeros((2, 1, 4)), 1.0, scores, scores, "none")
    array([0.5])
    """
    values = finite_array(values, "values", 3)
    reward, judge = finite_array(reward, "reward", 2), finite_array(judge, "judge", 2)
    weights, procedure = tilt(values, beta), parse_procedure(procedure)
    return np.mean([win_rates(each, reward, judge, procedure) for each in weights], axis=0)


def tilt_values(
    calibrated: ArrayLike,
    transform: str | Transform,
    *,
    kl: float,
    n_rollouts: int | None = None,
) -> tuple[NDArray[np.float64], float]:
    """Return what a policy tilts by, and the one β that gives all prompts and sets a mean KL.

    Parameters
    ----------
    calibrated : array-like, shape (D, P, M)
        Calibrated rewards by each of D sets of rollouts; for raw the rewards themselves.
    transform : str or Transform
        Of the calibrated reward.
    kl : float
        The mean over sets and prompts in nats, > 0.
    n_rollouts : int, optional
        For log of a strict empirical calibration: the rollouts of its table.

    Returns
    -------
    values : ndarray, shape (D, P, M)
    beta : float

    Raises
    ------
    InputError
        If the KL is out of reach, or the transform cannot act on `calibrated`.

    Examples
    --------
    >>> values, beta = tilt_values([[[0.25, 0.75]]], "identity", kl=0.1)
    >>> values.shape, beta > 0
    ((1, 1, 2), True)
    """
    calibrated, transform = finite_array(calibrated, "calibrated", 3), parse_transform(transform)
    rows = calibrated.reshape(-1, calibrated.shape[-1])
    if transform.name == "raw":
        return calibrated, beta_for_kl(rows, kl)
    values, beta = transformed_values(transform, rows, kl=kl, n_rollouts=n_rollouts)
    return values.reshape(calibrated.shape), beta
