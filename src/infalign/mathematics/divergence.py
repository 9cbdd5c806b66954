"""Three estimates of the KL divergence of a policy from the reference policy, over response tokens."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infalign.errors import InputError
from infalign.mathematics.checks import finite_array


def log_ratio_kl(log_probs: ArrayLike, reference_log_probs: ArrayLike) -> NDArray[np.float64]:
    """Return the Monte Carlo estimate of the KL: the log-ratio of each sampled response.

    Parameters
    ----------
    log_probs, reference_log_probs : array-like, shape (n,)
        Log-probability of each response under the policy, which it is sampled from, and under the reference,
        summed over its tokens, in nats.

    Returns
    -------
    ndarray, shape (n,)
        Any sign; its mean over the policy's samples is unbiased for KL(policy ‖ reference).

    Raises
    ------
    InputError
        If a value is NaN or infinite, or the shapes differ.

    Examples
    --------
    >>> log_ratio_kl([-1.0, -2.0], [-1.5, -1.5])
    array([ 0.5, -0.5])
    """
    policy, reference = (
        finite_array(log_probs, "log_probs"),
        finite_array(reference_log_probs, "reference_log_probs"),
    )
    if policy.shape != reference.shape:
        raise InputError(
            f"log_probs has shape {policy.shape}, reference_log_probs {reference.shape}: they must agree"
        )
    return policy - reference


def k3_kl(log_probs: ArrayLike, reference_log_probs: ArrayLike) -> NDArray[np.float64]:
    """Return the estimate k3 of the KL: (r − 1) − log r, r the probability ratio reference to policy.

    Parameters
    ----------
    log_probs, reference_log_probs : array-like, shape (n,)
        As in `log_ratio_kl`: of whole responses, so r is that of the response, not of a token.

    Returns
    -------
    ndarray, shape (n,)
        >= 0; its mean over the policy's samples is unbiased for KL(policy ‖ reference) where the policy
        gives every response of the reference a chance. Its variance is that of r as well, which is large
        or infinite where the reference likes what the policy hardly says.

    Raises
    ------
    InputError
        As `log_ratio_kl`, or a ratio overflows.

    References
    ----------
    Schulman 2020, Approximating KL divergence.

    Examples
    --------
    >>> k3_kl([-1.0], [-1.0]), bool(np.isclose(k3_kl([0.0], [np.log(0.5)])[0], np.log(2) - 0.5))
    (array([0.]), True)
    """
    log_ratio = -log_ratio_kl(log_probs, reference_log_probs)
    if log_ratio.max() > np.log(np.finfo(float).max):
        raise InputError(
            f"k3: the reference is e^{log_ratio.max():.0f} times as likely as the policy to give a response that the "
            "policy gave; check its log-probabilities"
        )
    return np.expm1(log_ratio) - log_ratio


def full_vocabulary_kl(log_p: ArrayLike, log_q: ArrayLike) -> NDArray[np.float64]:
    """Return the KL divergence of the next-token distributions at each position of a sampled response.

    Parameters
    ----------
    log_p, log_q : array-like, shape (T, V)
        Log-probabilities of the policy and the reference at each response position; a token of
        probability 0 under the policy may have −inf in `log_p`.

    Returns
    -------
    ndarray, shape (T,)
        In nats, >= 0. Summed over a response it has the mean of the log-ratio, usually with less variance.

    Raises
    ------
    InputError
        If the shapes differ or a value is NaN.

    Examples
    --------
    >>> p, q = np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]])
    >>> bool(np.isclose(full_vocabulary_kl(p, q)[0], 0.5 * np.log(4 / 3)))
    True
    """
    log_p, log_q = np.asarray(log_p, dtype=np.float64), np.asarray(log_q, dtype=np.float64)
    if log_p.shape != log_q.shape or log_p.ndim != 2:
        raise InputError(f"log_p and log_q must be (T, V) alike, got {log_p.shape} and {log_q.shape}")
    if np.isnan(log_p).any() or np.isnan(log_q).any():
        raise InputError("log-probabilities must not be NaN; check the model's logits")
    p = np.exp(log_p)
    difference = np.where(p > 0, log_p - np.where(p > 0, log_q, 0.0), 0.0)
    return np.maximum(np.sum(p * difference, axis=-1), 0.0)
