"""Two estimates of the KL divergence of a policy from the reference policy, over response tokens."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infalign.errors import InputError
from infalign.mathematics.checks import finite_array


def log_ratio_kl(log_probs: ArrayLike, reference_log_probs: ArrayLike) -> NDArray[np.float64]:
    """Return the Monte Carlo estimate of the KL: the log-ratio of each sampled response, of any sign, shape (n,).

    Its mean over the policy's samples is unbiased for KL(policy ‖ reference).

    Parameters
    ----------
    log_probs, reference_log_probs : array-like, shape (n,)
        Log-probability of each response under the policy, which it is sampled from, and under the reference,
        summed over its tokens, in nats.

    Examples
    --------
    >>> log_ratio_kl([-1.0, -2.0], [-1.5, -1.5])
    array([ 0.5, -0.5])
    """
    policy = finite_array(log_probs, "log_probs")
    reference = finite_array(reference_log_probs, "reference_log_probs")
    if policy.shape != reference.shape:
        raise InputError(f"log_probs has shape {policy.shape}, reference_log_probs {reference.shape}: they must agree")
    return policy - reference


def k3_kl(log_probs: ArrayLike, reference_log_probs: ArrayLike) -> NDArray[np.float64]:
    """Return the estimate k3 of the KL: (r − 1) − log r >= 0, r the probability ratio reference to policy.

    Arguments as in `log_ratio_kl`: r is the ratio of the whole response, not of a token; an InputError if it
    overflows. The mean over the policy's samples is unbiased for KL(policy ‖ reference) where the policy gives every
    response of the reference a chance. Its variance is that of r as well, which is large or infinite where the
    reference likes what the policy hardly says.

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
