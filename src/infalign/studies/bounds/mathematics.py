"""The variational best-of-N objective and its two lower bounds, exactly, over an enumerated set of responses.

With F(y) the reference's probability of what ranks below y, best-of-N returns y with probability
π_BoN(y) = (F + π_ref)^N − F^N. N may be any number from 1: the bounds with β in place of N need it.

Equal rewards: the objective needs a total order (appendix C). Here it is by π_ref and then by position: of two
responses with equal rewards the likelier ranks higher. The bounds count lower rewards only, as printed. A total
order makes F larger, so they bound the objective either way. They are −inf for every policy that can return a
response of the lowest reward, where F is 0 (N above 1).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infalign.errors import InputError
from infalign.mathematics.checks import finite_array

TOLERANCE = 1e-9  # of the sum of the probabilities


def best_of_n_log_probs(reference: ArrayLike, rewards: ArrayLike, n: float) -> NDArray[np.float64]:
    """Return the log-probability of every response under best-of-n.

    Parameters
    ----------
    reference : array-like, shape (R,)
        π_ref of every response there is, summing to 1.
    rewards : array-like, shape (R,)
        Only their order counts.
    n : float
        >= 1, finite; a whole number of draws, or the same formula between them.

    Returns
    -------
    array, shape (R,)
        In nats; −inf where π_ref is 0.

    Raises
    ------
    InputError
        If the shapes differ, `reference` is not a distribution, a reward is not finite or n is below 1.

    References
    ----------
    Amini et al. 2025, Variational best-of-N alignment, proposition 1 and appendix C.

    Examples
    --------
    >>> np.exp(best_of_n_log_probs([0.25, 0.25, 0.5], [1.0, 2.0, 2.0], 2)).round(6).tolist()
    [0.0625, 0.1875, 0.75]
    """
    reference, rewards = _distribution(reference, "reference"), _rewards(reference, rewards)
    n = _check_n(n)
    order = np.lexsort((np.arange(len(rewards)), reference, rewards))
    up_to = np.cumsum(reference[order])
    share = np.divide(reference[order], up_to, out=np.zeros_like(up_to), where=up_to > 0)
    log_probs = np.empty_like(up_to)
    with np.errstate(divide="ignore"):
        log_below = n * np.log1p(-share)  # log of (F/(F + π))^n
        log_probs[order] = n * np.log(up_to / up_to[-1]) + np.log(-np.expm1(log_below))
    return log_probs


def vbon_value(policy: ArrayLike, reference: ArrayLike, rewards: ArrayLike, n: float) -> float:
    """Return J = −KL(policy ‖ best-of-n of the reference).

    Parameters
    ----------
    policy, reference : array-like, shape (R,)
        Probabilities of every response there is, summing to 1.
    rewards : array-like, shape (R,)
        Only their order counts.
    n : float
        >= 1, finite.

    Returns
    -------
    float
        In nats, at most 0; −inf where the policy returns what the reference does not.

    Raises
    ------
    InputError
        As `best_of_n_log_probs`.

    References
    ----------
    Amini et al. 2025, Variational best-of-N alignment, equation 5.

    Examples
    --------
    >>> round(vbon_value([0.5, 0.5], [0.5, 0.5], [0.0, 1.0], 2), 6)  # best-of-2: ¼ and ¾
    -0.143841
    """
    policy = _distribution(policy, "policy", np.shape(reference))
    return _expectation(policy, best_of_n_log_probs(reference, rewards, n)) + _entropy(policy)


def vbon_lower_bound(policy: ArrayLike, reference: ArrayLike, rewards: ArrayLike, n: float) -> float:
    """Return L = (n − 1)·E[log F(reward)] − KL(policy ‖ reference), at most J − log n.

    L/(n − 1) is the KL-constrained objective with log F as its reward and β = 1/(n − 1).

    Parameters
    ----------
    policy, reference, rewards, n
        As in `vbon_value`, whose errors it shares.

    Returns
    -------
    float
        In nats; −inf where the policy returns a response of the lowest reward and n > 1.

    References
    ----------
    Amini et al. 2025, Variational best-of-N alignment, theorem 2.

    Examples
    --------
    >>> round(vbon_lower_bound([0.0, 1.0], [0.5, 0.5], [0.0, 1.0], 2), 6)  # log ½ − log 2
    -1.386294
    """
    policy, log_reference, log_below = _terms(policy, reference, rewards)
    gain = _times(_check_n(n) - 1, _expectation(policy, log_below))
    return gain + _expectation(policy, log_reference) + _entropy(policy)


def vbon_loose_bound(policy: ArrayLike, reference: ArrayLike, rewards: ArrayLike, n: float) -> float:
    """Return L₁ = γ·E[log F(reward)] − α·H(policy) − β·KL(policy ‖ reference).

    α = (n + 2)(n − 1)/2, β = n(n + 1)/2 and γ = n(n − 1)/2. J ≥ L₁ for every n from 1. L ≥ L₁ for n = 1 and for
    n ≥ 2. Between them γ < n − 1, and L ≥ L₁ does not hold for every policy.

    Parameters
    ----------
    policy, reference, rewards, n
        As in `vbon_value`, whose errors it shares.

    Returns
    -------
    float
        In nats; −inf as `vbon_lower_bound`.

    References
    ----------
    Amini et al. 2025, Variational best-of-N alignment, theorems 3 and 4.

    Examples
    --------
    >>> round(vbon_loose_bound([0.0, 1.0], [0.5, 0.5], [0.0, 1.0], 2), 6)  # log ½ − 3·log 2
    -2.772589
    """
    policy, log_reference, log_below = _terms(policy, reference, rewards)
    n = _check_n(n)
    alpha, beta, gamma = (n + 2) * (n - 1) / 2, n * (n + 1) / 2, n * (n - 1) / 2
    divergence = -_entropy(policy) - _expectation(policy, log_reference)
    return _times(gamma, _expectation(policy, log_below)) - alpha * _entropy(policy) - beta * divergence


def _entropy(policy: NDArray[np.float64]) -> float:
    """−Σ p·log p in nats, 0·log 0 being 0."""
    positive = policy[policy > 0]
    return float(-np.sum(positive * np.log(positive)))


def _terms(
    policy: ArrayLike, reference: ArrayLike, rewards: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The policy, log π_ref, and log F of lower rewards only."""
    policy = _distribution(policy, "policy", np.shape(reference))
    reference, rewards = _distribution(reference, "reference"), _rewards(reference, rewards)
    order = np.argsort(rewards, kind="stable")
    below = np.concatenate([[0.0], np.cumsum(reference[order])])
    with np.errstate(divide="ignore"):
        log_below = np.log(np.minimum(below[np.searchsorted(rewards[order], rewards)], 1.0))
        return policy, np.log(reference), log_below


def _expectation(policy: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    """Σ p·values over the responses that the policy returns; values may be −inf elsewhere."""
    returned = policy > 0
    return float(np.sum(policy[returned] * values[returned]))


def _times(factor: float, value: float) -> float:
    """The product, 0 where the factor is 0 and the value −inf."""
    return factor * value if factor else 0.0


def _check_n(n: float) -> float:
    if not (np.isfinite(n) and n >= 1):
        raise InputError(f"n of best-of-n must be a finite number >= 1, got {n}; 1 is the reference itself")
    return float(n)


def _distribution(probs: ArrayLike, name: str, shape: tuple[int, ...] | None = None) -> NDArray[np.float64]:
    """Probabilities that sum to 1, one for each response."""
    probs = finite_array(probs, name, 1)
    if shape is not None and probs.shape != shape:
        raise InputError(f"{name} must have a probability for each of {shape} responses, got {probs.shape}")
    if probs.min() < 0 or abs(probs.sum() - 1) > TOLERANCE:
        raise InputError(
            f"{name} must be probabilities >= 0 that sum to 1, got a sum of {probs.sum()} and a smallest of "
            f"{probs.min()}; normalise it over all responses"
        )
    return probs


def _rewards(reference: ArrayLike, rewards: ArrayLike) -> NDArray[np.float64]:
    rewards = finite_array(rewards, "rewards", 1)
    if rewards.shape != np.shape(reference):
        raise InputError(
            f"rewards must be one for each response, got {len(rewards)} for {np.shape(reference)} probabilities"
        )
    return rewards
