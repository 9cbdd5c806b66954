"""The multi-task theorem in numbers, on log-linear policies over listed prompts and responses.

The policies are π_θ(y|x) = exp(θᵀg(x, y) − A(θ; x)); p = π_θ* is the one that fits the demonstrations best.
KL(p ‖ π_θ) is the Bregman divergence of A from θ* to θ. It is the loss on the demonstrations up to a constant.
KL(π_θ ‖ p) is the divergence from θ to θ*. It is not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize

from infalign.errors import InputError
from infalign.mathematics.checks import finite_array, positive

Array = NDArray[np.float64]
Divergence = Literal["sft_to_policy", "policy_to_sft"]  # KL(p ‖ π_θ) and KL(π_θ ‖ p)
Objective = Callable[[Array], tuple[float, Array]]

LARGEST_GRADIENT = 1e-6
_SUM_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class LogLinearTask:
    """A log-linear policy's features, and what it is trained on.

    Parameters
    ----------
    features : array-like, shape (X, Y, D)
        g(x, y) of each of Y responses to each of X prompts.
    prompts : array-like, shape (X,)
        Their probabilities μ.
    demonstrations : array-like, shape (X, Y)
        Probabilities of the demonstrated responses, > 0, each row summing to 1.
    rewards : array-like, shape (X, Y)
        Of each response.

    Raises
    ------
    InputError
        If the shapes do not fit, a value is not finite, or the probabilities are none.

    Examples
    --------
    >>> LogLinearTask([[[0.0], [1.0]]], [1.0], [[0.5, 0.5]], [[0.0, 1.0]]).features.shape
    (1, 2, 1)
    """

    features: Array
    prompts: Array
    demonstrations: Array
    rewards: Array

    def __post_init__(self) -> None:
        for name, ndim in (("features", 3), ("prompts", 1), ("demonstrations", 2), ("rewards", 2)):
            object.__setattr__(self, name, finite_array(getattr(self, name), name, ndim))
        shape = self.features.shape[:2]
        if self.prompts.shape != shape[:1] or {self.demonstrations.shape, self.rewards.shape} != {shape}:
            raise InputError(
                f"features of {shape[0]} prompts and {shape[1]} responses need as many prompts, demonstrations and "
                f"rewards, got shapes {self.prompts.shape}, {self.demonstrations.shape} and {self.rewards.shape}"
            )
        for name, rows in (("prompts", self.prompts[None]), ("demonstrations", self.demonstrations)):
            if rows.min() <= 0 or np.abs(rows.sum(axis=1) - 1).max() > _SUM_TOLERANCE:
                raise InputError(f"{name} must be probabilities above 0 that sum to 1, got {rows.tolist()}")

    def log_policy(self, theta: ArrayLike) -> Array:
        """Return log π_θ(y|x), shape (X, Y), at parameters of shape (D,)."""
        scores = self.features @ np.asarray(theta, dtype=np.float64)
        return scores - self.log_partition(theta)[:, None]

    def log_partition(self, theta: ArrayLike) -> Array:
        """Return A(θ; x), shape (X,), at parameters of shape (D,)."""
        scores = self.features @ np.asarray(theta, dtype=np.float64)
        top = scores.max(axis=1)
        return top + np.log(np.exp(scores - top[:, None]).sum(axis=1))

    def expected(self, weights: Array, values: Array) -> float:
        """Return the mean of values, shape (X, Y), over prompts and responses drawn by weights."""
        return float(self.prompts @ (weights * values).sum(axis=1))

    def expected_features(self, weights: Array) -> Array:
        """Return the mean of the features, shape (D,), over prompts and responses drawn by weights, (X, Y)."""
        flat = self.features.reshape(-1, self.features.shape[2])
        return (self.prompts[:, None] * weights).ravel() @ flat

    def covariance(self, theta: Array, values: Array) -> Array:
        """Return the mean over prompts of the covariance under π_θ of features and values, shape (D,)."""
        weights = np.exp(self.log_policy(theta))
        centred = values - (weights * values).sum(axis=1, keepdims=True)
        return self.expected_features(weights * centred)


def sft_loss(task: LogLinearTask, theta: Array) -> tuple[float, Array]:
    """Return the loss on the demonstrations, E[A(θ; x) − θᵀg(x, y)], and its gradient, at θ of shape (D,).

    Examples
    --------
    >>> task = LogLinearTask([[[0.0], [1.0]]], [1.0], [[0.25, 0.75]], [[0.0, 1.0]])
    >>> loss, gradient = sft_loss(task, np.zeros(1))
    >>> bool(np.isclose(loss, np.log(2))), float(gradient[0])
    (True, -0.25)
    """
    demonstrated = task.expected_features(task.demonstrations)
    gradient = task.expected_features(np.exp(task.log_policy(theta))) - demonstrated
    return float(task.prompts @ task.log_partition(theta) - theta @ demonstrated), gradient


def reward_term(task: LogLinearTask, theta: Array) -> tuple[float, Array]:
    """Return the expected reward under π_θ and its gradient, at θ of shape (D,).

    Examples
    --------
    >>> task = LogLinearTask([[[0.0], [1.0]]], [1.0], [[0.25, 0.75]], [[0.0, 1.0]])
    >>> reward_term(task, np.zeros(1))[0]
    0.5
    """
    value = task.expected(np.exp(task.log_policy(theta)), task.rewards)
    return value, task.covariance(theta, task.rewards)


def sft_divergence(task: LogLinearTask, theta: Array, sft: Array, divergence: Divergence) -> tuple[float, Array]:
    """Return the mean over prompts of a divergence between p = π_sft and π_θ, in nats, and its gradient.

    Parameters
    ----------
    task : LogLinearTask
        Its features and prompts count.
    theta, sft : ndarray, shape (D,)
        Parameters of π_θ and of p.
    divergence : {"sft_to_policy", "policy_to_sft"}
        KL(p ‖ π_θ), or KL(π_θ ‖ p).

    Examples
    --------
    >>> task = LogLinearTask([[[0.0], [1.0]]], [1.0], [[0.25, 0.75]], [[0.0, 1.0]])
    >>> sft_divergence(task, np.zeros(1), np.zeros(1), "policy_to_sft")[0]
    0.0
    """
    log_policy, log_sft = task.log_policy(theta), task.log_policy(sft)
    policy, ratio = np.exp(log_policy), log_policy - log_sft
    if divergence == "policy_to_sft":
        return task.expected(policy, ratio), task.covariance(theta, ratio)
    weights = np.exp(log_sft)
    gradient = task.expected_features(policy) - task.expected_features(weights)
    return task.expected(weights, log_sft - log_policy), gradient


def minimiser(objective: Objective, starts: Sequence[Array]) -> Array:
    """Return the lowest minimum that quasi-Newton steps reach from any of the starts.

    Parameters
    ----------
    objective : callable
        From parameters to a value and its gradient.
    starts : sequence of ndarray, each of shape (D,)
        Parameters to start from.

    Raises
    ------
    InputError
        If no start ends where the gradient is below 1e-6.

    Examples
    --------
    >>> minimiser(lambda theta: (float(theta @ theta), 2 * theta), [np.ones(2)]).round(6).tolist()
    [0.0, 0.0]
    """
    ends = [minimize(objective, start, jac=True, method="BFGS", options={"gtol": 1e-8}) for start in starts]
    converged = [end for end in ends if np.abs(end.jac).max() <= LARGEST_GRADIENT]
    if not converged:
        smallest = min(float(np.abs(end.jac).max()) for end in ends)
        raise InputError(f"no minimum found: the smallest gradient reached is {smallest:.1e}; use a larger beta")
    return min(converged, key=lambda end: end.fun).x


@dataclass(frozen=True)
class MultitaskComparison:
    """Regularised alignment compared with learning from demonstrations and reward at once.

    Attributes
    ----------
    objective_range : float
        Largest less smallest difference of the two objectives over the parameters tried, in nats.
    constant : float
        Their mean difference, less that of the smallest loss on the demonstrations with its sign changed.
    total_variation : float
        Between the two minimisers' policies, the mean over prompts, in [0, 1].
    reward_gain : float
        Expected reward at regularised alignment's minimiser, less that of the SFT policy.
    """

    objective_range: float
    constant: float
    total_variation: float
    reward_gain: float


def compare_multitask(
    task: LogLinearTask, divergence: Divergence, reward_sign: Literal[1, -1], beta: float, seed: int = 0
) -> MultitaskComparison:
    """Minimise regularised alignment and the multi-task objective, and compare them.

    Parameters
    ----------
    task : LogLinearTask
        Demonstrations and rewards.
    divergence : {"sft_to_policy", "policy_to_sft"}
        Regulariser of the first objective: KL(p ‖ π_θ), or KL(π_θ ‖ p) as printed.
    reward_sign : {1, -1}
        Both objectives add this times E[r]/β and are minimised: 1 as printed, −1 raises the reward.
    beta : float
        > 0.
    seed : int
        Of the parameters at which the objectives are compared, and of further starts.

    Raises
    ------
    InputError
        If beta is not above 0, or a minimum is not found.

    References
    ----------
    Balashankar et al. 2025, InfAlign, Lemma 6 and Theorem 4.

    Examples
    --------
    >>> features = np.eye(3)[None, :, :2]
    >>> task = LogLinearTask(features, [1.0], [[0.2, 0.3, 0.5]], [[0.0, 1.0, 2.0]])
    >>> compare_multitask(task, "sft_to_policy", -1, 1.0).total_variation < 1e-6
    True
    >>> compare_multitask(task, "policy_to_sft", -1, 1.0).total_variation > 0.01
    True
    """
    weight = reward_sign / positive(beta, "beta")
    start = np.zeros(task.features.shape[2])
    sft = minimiser(lambda theta: sft_loss(task, theta), [start])
    regularised = _with_reward(task, weight, lambda theta: sft_divergence(task, theta, sft, divergence))
    multitask = _with_reward(task, weight, lambda theta: sft_loss(task, theta))
    tried = sft + np.random.default_rng(seed).normal(size=(20, len(sft)))
    differences = np.array([regularised(theta)[0] - multitask(theta)[0] for theta in tried])
    ends = [minimiser(objective, [sft, *tried[:2]]) for objective in (regularised, multitask)]
    policies = [np.exp(task.log_policy(theta)) for theta in ends]
    return MultitaskComparison(
        objective_range=float(np.ptp(differences)),
        constant=float(differences.mean() + sft_loss(task, sft)[0]),
        total_variation=float(task.prompts @ np.abs(policies[0] - policies[1]).sum(axis=1) / 2),
        reward_gain=reward_term(task, ends[0])[0] - reward_term(task, sft)[0],
    )


def _with_reward(task: LogLinearTask, weight: float, loss: Objective) -> Objective:
    """A loss plus a multiple of the expected reward."""

    def total(theta: Array) -> tuple[float, Array]:
        (value, gradient), (reward, slope) = loss(theta), reward_term(task, theta)
        return value + weight * reward, gradient + weight * slope

    return total
