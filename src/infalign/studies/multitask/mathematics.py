"""Two remarks of InfAlign on its regulariser, in numbers: multi-tasking, and a change of variables.

Multi-tasking is shown on log-linear policies π_θ(y|x) = exp(θᵀg(x, y) − A(θ; x)) over listed prompts and
responses. p = π_θ* is the one that fits the demonstrations best. Then KL(p ‖ π_θ) is the Bregman divergence
of A from θ* to θ, which is the loss on the demonstrations up to a constant; KL(π_θ ‖ p) is that from θ to θ*,
which is not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import exprel

from infalign.errors import InputError
from infalign.mathematics.checks import finite_array, positive
from infalign.mathematics.continuous import Density
from infalign.mathematics.procedures import Procedure
from infalign.mathematics.quadrature import Panels
from infalign.mathematics.tilting import solve_log
from infalign.mathematics.transforms import Transform

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
    """Return the loss on the demonstrations, E[A(θ; x) − θᵀg(x, y)], and its gradient.

    Parameters
    ----------
    task : LogLinearTask
    theta : ndarray, shape (D,)

    Returns
    -------
    float, ndarray of shape (D,)

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
    """Return the expected reward under π_θ and its gradient; see `sft_loss`.

    Examples
    --------
    >>> task = LogLinearTask([[[0.0], [1.0]]], [1.0], [[0.25, 0.75]], [[0.0, 1.0]])
    >>> reward_term(task, np.zeros(1))[0]
    0.5
    """
    value = task.expected(np.exp(task.log_policy(theta)), task.rewards)
    return value, task.covariance(theta, task.rewards)


def sft_divergence(
    task: LogLinearTask, theta: Array, sft: Array, divergence: Divergence
) -> tuple[float, Array]:
    """Return the mean over prompts of a divergence between p = π_sft and π_θ, in nats, and its gradient.

    Parameters
    ----------
    task : LogLinearTask
    theta, sft : ndarray, shape (D,)
    divergence : {"sft_to_policy", "policy_to_sft"}
        KL(p ‖ π_θ), or KL(π_θ ‖ p).

    Returns
    -------
    float, ndarray of shape (D,)

    Examples
    --------
    >>> task = LogLinearTask([[[0.0], [1.0]]], [1.0], [[0.25, 0.75]], [[0.0, 1.0]])
    >>> sft_divergence(task, np.zeros(1), np.zeros(1), "policy_to_sft")[0]
    0.0
    """
    own, fixed = task.log_policy(theta), task.log_policy(sft)
    if divergence == "sft_to_policy":
        weights = np.exp(fixed)
        gradient = task.expected_features(np.exp(own)) - task.expected_features(weights)
        return task.expected(weights, fixed - own), gradient
    return task.expected(np.exp(own), own - fixed), task.covariance(theta, own - fixed)


def minimiser(objective: Objective, starts: Sequence[Array]) -> Array:
    """Return the lowest minimum that quasi-Newton steps reach from any of the starts.

    Parameters
    ----------
    objective : callable
        From parameters to a value and its gradient.
    starts : sequence of ndarray, each of shape (D,)

    Returns
    -------
    ndarray, shape (D,)

    Raises
    ------
    InputError
        If no start ends where the gradient is below 1e-6.

    Examples
    --------
    >>> minimiser(lambda theta: (float(theta @ theta), 2 * theta), [np.ones(2)]).round(6).tolist()
    [0.0, 0.0]
    """
    found = [minimize(objective, start, jac=True, method="BFGS", options={"gtol": 1e-8}) for start in starts]
    converged = [one for one in found if np.abs(one.jac).max() <= LARGEST_GRADIENT]
    if not converged:
        steepest = min(float(np.abs(one.jac).max()) for one in found)
        raise InputError(
            f"no minimum found: the smallest gradient reached is {steepest:.1e}; use a larger beta"
        )
    return min(converged, key=lambda one: one.fun).x


@dataclass(frozen=True)
class Multitask:
    """How regularised alignment and the multi-task of demonstrations and reward compare.

    Parameters
    ----------
    objective_range : float
        Largest less smallest difference of the two objectives over the parameters tried, in nats.
    constant : float
        Their mean difference, less that of the smallest loss on the demonstrations with its sign changed.
    total_variation : float
        Between the two minimisers' policies, the mean over prompts, in [0, 1].
    reward_gain : float
        Expected reward at regularised alignment's minimiser, less that of the SFT policy.

    Examples
    --------
    >>> Multitask(0.0, 0.0, 0.0, 0.5).reward_gain
    0.5
    """

    objective_range: float
    constant: float
    total_variation: float
    reward_gain: float


def compare_multitask(
    task: LogLinearTask, divergence: Divergence, reward_sign: Literal[1, -1], beta: float, seed: int = 0
) -> Multitask:
    """Minimise regularised alignment and the multi-task objective, and compare them.

    Parameters
    ----------
    task : LogLinearTask
    divergence : {"sft_to_policy", "policy_to_sft"}
        Regulariser of the first objective: KL(p ‖ π_θ), or KL(π_θ ‖ p) as printed.
    reward_sign : {1, -1}
        Both objectives add this times E[r]/β and are minimised: 1 as printed, −1 raises the reward.
    beta : float
        > 0.
    seed : int
        Of the parameters at which the objectives are compared, and of further starts.

    Returns
    -------
    Multitask

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
    regularised = _sum(task, weight, lambda theta: sft_divergence(task, theta, sft, divergence))
    multitask = _sum(task, weight, lambda theta: sft_loss(task, theta))
    tried = sft + np.random.default_rng(seed).normal(size=(20, len(sft)))
    differences = np.array([regularised(theta)[0] - multitask(theta)[0] for theta in tried])
    ends = [minimiser(objective, [sft, *tried[:2]]) for objective in (regularised, multitask)]
    policies = [np.exp(task.log_policy(theta)) for theta in ends]
    return Multitask(
        objective_range=float(np.ptp(differences)),
        constant=float(differences.mean() + sft_loss(task, sft)[0]),
        total_variation=float(task.prompts @ np.abs(policies[0] - policies[1]).sum(axis=1) / 2),
        reward_gain=reward_term(task, ends[0])[0] - reward_term(task, sft)[0],
    )


def _sum(task: LogLinearTask, weight: float, loss: Objective) -> Objective:
    """A loss with a multiple of the expected reward."""

    def total(theta: Array) -> tuple[float, Array]:
        (value, gradient), (reward, slope) = loss(theta), reward_term(task, theta)
        return value + weight * reward, gradient + weight * slope

    return total


def carried_tilt(procedure: Procedure, rate: float) -> Density:
    """Return the policy π for which T(π) is the exact tilt, by e^{rate v}, of T(π_ref) in its own quantile v.

    It solves alignment with KL(T(π) ‖ T(π_ref)) as regulariser: in v = G(u) the reference under T is uniform and
    the win rate is the standard one, whose optimum is the tilt.

    Parameters
    ----------
    procedure : Procedure
        none, bon or won.
    rate : float
        1/β, > 0.

    Returns
    -------
    Density
        With best-of-n log f = rate uⁿ − (n−1)/n log[(e^{rate uⁿ} − 1)/(rate uⁿ)] up to a constant;
        with worst-of-n the same in 1 − u, with the rate's sign changed.

    Raises
    ------
    InputError
        If the procedure is another one, or the rate not above 0.

    References
    ----------
    Balashankar et al. 2025, InfAlign, remark after Theorem 4 ("a simple change of variables").

    Examples
    --------
    >>> from infalign.mathematics.procedures import NoProcedure
    >>> policy = carried_tilt(NoProcedure(), 2.0)
    >>> bool(np.isclose(policy.kl, 2 * (1 / (1 - np.exp(-2)) - 1 / 2) - np.log((np.e**2 - 1) / 2)))
    True
    """
    n, panels = _whole_draws(procedure), Panels.graded(56, 56, per_octave=2)
    if procedure.name == "won":
        exponent = -positive(rate, "rate") * panels.complement**n
    else:
        exponent = positive(rate, "rate") * panels.u**n
    return Density(panels, exponent - (n - 1) / n * np.log(exprel(exponent)))


def _whole_draws(procedure: Procedure) -> int:
    if procedure.name not in ("none", "bon", "won"):
        raise InputError(f"{procedure.text}: only none, bon(n) and won(n) are inverted here")
    return int(procedure.parameters[0]) if procedure.parameters else 1


def transformed_kl(density: Density, procedure: Procedure) -> float:
    """Return KL(T(π) ‖ T(π_ref)) in nats of a continuous policy under a procedure.

    Parameters
    ----------
    density : Density
    procedure : Procedure
        none, bon or won.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If the procedure is another one.

    Examples
    --------
    >>> from infalign.mathematics.procedures import NoProcedure
    >>> density = carried_tilt(NoProcedure(), 2.0)
    >>> bool(np.isclose(transformed_kl(density, NoProcedure()), density.kl))
    True
    """
    n, panels = _whole_draws(procedure), density.panels
    if procedure.name == "won":
        level, base = density.above, panels.complement
    else:
        level, base = density.below, panels.u
    picked = n * level ** (n - 1) * density.f
    ratio = density.log_f + (n - 1) * (np.log(np.where(level > 0, level, 1.0)) - np.log(base))
    return panels.integrate(np.where(picked > 0, picked * ratio, 0.0))


def rate_at_transformed_kl(procedure: Procedure, kl: float) -> float:
    """Return the rate at which `carried_tilt` has a given KL(T(π) ‖ T(π_ref)).

    Parameters
    ----------
    procedure : Procedure
        none, bon or won.
    kl : float
        In nats, > 0.

    Returns
    -------
    float
        > 0.

    Examples
    --------
    >>> from infalign.mathematics.procedures import BestOf, NoProcedure
    >>> rates = [rate_at_transformed_kl(each, 0.5) for each in (NoProcedure(), BestOf(4))]
    >>> bool(np.isclose(*rates))
    True
    """
    kl = positive(kl, "kl")
    inverse = solve_log(lambda beta: transformed_kl(carried_tilt(procedure, 1 / beta), procedure), kl, 1.0)
    return 1 / inverse


def tilt_at_transformed_kl(transform: Transform, procedure: Procedure, kl: float) -> Density:
    """Return the policy ∝ exp(Φ(u)/β) with a given KL(T(π) ‖ T(π_ref)).

    Parameters
    ----------
    transform : Transform
        identity, log or exp(t).
    procedure : Procedure
        none, bon or won.
    kl : float
        In nats, > 0.

    Returns
    -------
    Density

    Examples
    --------
    >>> from infalign.mathematics.procedures import NoProcedure
    >>> from infalign.mathematics.transforms import Identity
    >>> density = tilt_at_transformed_kl(Identity(), NoProcedure(), 0.5)
    >>> bool(np.isclose(density.kl, 0.5))
    True
    """
    panels = Panels.graded(56, 120, per_octave=2)
    excess = transform.below_top(panels.u, panels.complement)
    beta = solve_log(
        lambda b: transformed_kl(Density(panels, excess / b), procedure), positive(kl, "kl"), 1.0
    )
    return Density(panels, excess / beta)
