"""Calibration: a response's reward becomes its quantile among the reference policy's rollouts."""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_expit

from infalign.errors import InputError
from infalign.mathematics.checks import finite_array
from infalign.mathematics.ranks import mid_ranks

FORMS = "empirical, anchors(p) with p >= 1 (such as anchors(1), the median calibration)"
TIES = ("half", "weak", "strict")


@dataclass(frozen=True)
class Calibrator:
    """How rewards become calibrated rewards: `empirical`, or `anchors` with p anchor points."""

    name: str
    p: int | None = None

    @property
    def text(self) -> str:
        """The canonical text, which `parse_calibrator` reads back."""
        return self.name if self.p is None else f"{self.name}({self.p})"

    def __str__(self) -> str:
        return self.text


def parse_calibrator(text: str | Calibrator) -> Calibrator:
    """Read a calibrator from its text form, empirical or anchors(p); an InputError lists the valid forms.

    Examples
    --------
    >>> parse_calibrator("anchors(5)").p
    5
    """
    if isinstance(text, Calibrator):
        return text
    if str(text).strip() == "empirical":
        return Calibrator("empirical")
    match = re.fullmatch(r"\s*anchors\s*\(\s*(\d+)\s*\)\s*", str(text))
    if match is None or int(match[1]) < 1:
        raise InputError(f"unknown calibrator {text!r}; valid forms: {FORMS}")
    return Calibrator("anchors", int(match[1]))


def empirical_calibration(
    rewards: ArrayLike, reference: ArrayLike, ties: str = "half", in_reference: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Return the share of one prompt's reference rollouts that each reward beats, in [0, 1].

    Parameters
    ----------
    rewards : array-like, shape (n,)
    reference : array-like, shape (K,)
        Rewards of the reference rollouts, K >= 2.
    ties : {"half", "weak", "strict"}
        A tie counts ½, 1 (the paper's >=) or 0. If all rewards are tied, `half` gives ½ everywhere.
    in_reference : array-like of bool, shape (n,), optional
        Which responses are themselves among the reference rollouts; they are left out of their own
        comparison, which then has K − 1 members.

    References
    ----------
    Balashankar et al. 2025, InfAlign, Definition 2 and Algorithm 1.

    Examples
    --------
    >>> empirical_calibration([0.0, 2.0, 9.0], [1.0, 2.0, 3.0, 4.0])
    array([0.   , 0.375, 1.   ])
    """
    rewards, reference = finite_array(rewards, "reward", 1), finite_array(reference, "reference reward", 1)
    if ties not in TIES:
        raise InputError(f"ties must be one of {', '.join(TIES)}, got {ties!r}")
    if len(reference) < 2:
        raise InputError(
            f"empirical calibration needs at least 2 reference rollouts per prompt, got {len(reference)}; "
            "sample more, or use anchors(1), which allows one"
        )
    ordered = np.sort(reference)
    below = np.searchsorted(ordered, rewards, side="left")
    equal = np.searchsorted(ordered, rewards, side="right") - below
    left_out = np.asarray(np.zeros(len(rewards)) if in_reference is None else in_reference, dtype=bool)
    _check_in_reference(left_out, equal)
    share = {"half": 0.5, "weak": 1.0, "strict": 0.0}[ties]
    return (below + share * (equal - left_out)) / (len(reference) - left_out)


def _check_in_reference(in_reference: NDArray[np.bool_], equal: NDArray[np.int64]) -> None:
    """Refuse a response said to be its own rollout whose reward no rollout has."""
    if in_reference.shape != equal.shape:
        raise InputError(f"in_reference must have shape {equal.shape}, as rewards, got {in_reference.shape}")
    if np.any(in_reference & (equal == 0)):
        raise InputError(
            "leave-one-out: a response marked as a reference rollout has a reward no rollout has; "
            "its two tables disagree"
        )


def sigmoid_scores(rewards: ArrayLike, offset: float | None) -> NDArray[np.float64]:
    """Return sigmoid(reward − offset), in (0, 1), any shape.

    The offset is the mean reference reward over all prompts. Without it rewards are taken as probabilities,
    which must lie in (0, 1].

    Examples
    --------
    >>> sigmoid_scores([2.0], offset=2.0)
    array([0.5])
    """
    return np.exp(log_scores(rewards, offset))


def log_scores(rewards: ArrayLike, offset: float | None) -> NDArray[np.float64]:
    """Return the log of `sigmoid_scores`, precise where the sigmoid saturates.

    Examples
    --------
    >>> log_scores([-800.0], offset=0.0)
    array([-800.])
    """
    rewards = finite_array(rewards, "reward")
    if offset is not None:
        return log_expit(rewards - offset)
    if rewards.min() <= 0 or rewards.max() > 1:
        raise InputError(f"probabilities must lie in (0, 1], got {rewards.min()} to {rewards.max()}")
    return np.log(rewards)


@dataclass(frozen=True)
class AnchorCurve:
    """One prompt's calibration curve: log C, piecewise linear in log score; both (a,), increasing, the last 0."""

    log_scores: NDArray[np.float64]
    log_quantiles: NDArray[np.float64]


def fit_anchors(reference: ArrayLike, offset: float | None, p: int) -> AnchorCurve:
    """Fit one prompt's anchored calibration curve to its reference rollouts.

    Anchors that coincide are merged, at the mean of their quantiles; (0, 0) is the last point. If all rewards are
    tied there is one anchor, which gives the tied reward that mean quantile, ½. An anchor whose score is 1 in
    float64 raises an InputError.

    Parameters
    ----------
    reference : array-like, shape (K,)
        Rewards of the reference rollouts; K = 1 is allowed for p = 1 only.
    offset : float or None
        As in `sigmoid_scores`.
    p : int
        Anchor points, >= 1, at the empirical quantiles i / (p + 1) of the mapped rewards.

    References
    ----------
    Balashankar et al. 2025, InfAlign, section 5 and the appendix on anchor points.

    Examples
    --------
    >>> curve = fit_anchors([0.25, 0.25], None, 1)
    >>> bool(np.isclose(curve.log_quantiles[0] / curve.log_scores[0], np.log(0.5) / np.log(0.25)))
    True
    """
    if p < 1:
        raise InputError(f"anchors(p) needs p >= 1, got {p}")
    logs = np.sort(log_scores(finite_array(reference, "reference reward", 1), offset))
    if len(logs) < (1 if p == 1 else 2):
        raise InputError(f"anchors({p}) needs at least 2 reference rollouts per prompt, got {len(logs)}")
    quantiles = np.arange(1, p + 1) / (p + 1)
    scores, group = np.unique(_log_quantile(logs, quantiles), return_inverse=True)
    if scores[-1] >= 0:
        raise InputError(
            "an anchor's score is 1 in float64, so log score is 0: the reference rewards of this prompt lie "
            f"far above the mean reference reward (offset {offset}); rescale the rewards"
        )
    merged = np.bincount(group, weights=quantiles) / np.bincount(group)
    return AnchorCurve(np.append(scores, 0.0), np.append(np.log(merged), 0.0))


def _log_quantile(logs: NDArray[np.float64], quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logs of the linearly interpolated empirical quantiles of exp(sorted logs)."""
    position = quantiles * (len(logs) - 1)
    index = np.minimum(position.astype(int), max(len(logs) - 2, 0))
    upper = np.minimum(index + 1, len(logs) - 1)
    share = position - index
    with np.errstate(divide="ignore"):
        mixed = np.logaddexp(np.log1p(-share) + logs[index], np.log(share) + logs[upper])
    return np.where(logs[index] == logs[upper], logs[index], mixed)


def anchored_calibration(rewards: ArrayLike, curve: AnchorCurve, offset: float | None) -> NDArray[np.float64]:
    """Return calibrated rewards in [0, 1], shape (n,), by an anchored curve and the offset it was fitted with.

    Below the lowest anchor the first segment's slope is carried on. With one anchor it is score^γ, γ = log ½ / log
    median (Balashankar et al. 2025, InfAlign, section 5).

    Examples
    --------
    >>> curve = fit_anchors([0.25, 0.25], None, 1)
    >>> anchored_calibration([0.25, 0.0625, 1.0], curve, None)
    array([0.5 , 0.25, 1.  ])
    """
    logs = log_scores(rewards, offset)
    x, y = curve.log_scores, curve.log_quantiles
    segment = np.clip(np.searchsorted(x, logs, side="right") - 1, 0, len(x) - 2)
    slope = (y[segment + 1] - y[segment]) / (x[segment + 1] - x[segment])
    return np.exp(np.minimum(y[segment + 1] - slope * (x[segment + 1] - logs), 0.0))


def calibration_errors(measured: ArrayLike, table: ArrayLike, offset: float | None) -> dict[str, NDArray[np.float64]]:
    """Return |score − rank| of rollouts for five maps of the reward, each of shape (P, M).

    The maps are "identity", "square root", "square" and "cube" of the sigmoid score, and "quantile", the empirical
    calibration against `table` (Balashankar et al. 2025, InfAlign, Fig. 2).

    Parameters
    ----------
    measured : array-like, shape (P, M)
        Rewards of the rollouts that are measured; rank is the mid-rank among each prompt's M.
    table : array-like, shape (P, K)
        Rewards of the rollouts that make the calibration table. The same array as `measured` measures
        in sample, where the quantile map's error is 0.
    offset : float or None
        As in `sigmoid_scores`.

    Examples
    --------
    >>> errors = calibration_errors([[0.25, 0.75]], [[0.25, 0.75]], None)
    >>> errors["quantile"], errors["square"]
    (array([[0., 0.]]), array([[0.1875, 0.1875]]))
    """
    measured, table = finite_array(measured, "measured", 2), finite_array(table, "table", 2)
    if len(measured) != len(table):
        raise InputError(f"measured has {len(measured)} prompts, table has {len(table)}: they must be the same")
    ranks, score = mid_ranks(measured), sigmoid_scores(measured, offset)
    quantile = np.stack([empirical_calibration(*pair) for pair in zip(measured, table, strict=True)])
    maps = {"identity": score, "square root": np.sqrt(score), "square": score**2, "cube": score**3}
    return {name: np.abs(value - ranks) for name, value in (maps | {"quantile": quantile}).items()}
