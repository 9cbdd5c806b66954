"""Policies as points of KL and gain: which are on the Pareto front, whose they are, and the area they dominate."""

import moocore
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
REFERENCE = (0.0, 0.5)  # KL and win rate of the reference policy against itself
LOWER_KL_HIGHER_RATE = (False, True)


def on_front(kl: Array, win_rate: Array) -> NDArray[np.bool_]:
    """Say which policies, shape (S,), no other policy, nor the reference, dominates: True on the Pareto front.

    The KL in nats is the better the less, the win rate the more. Of policies alike in both, all or none are on it.

    References
    ----------
    Kung, Luccio and Preparata (1975), as in moocore.

    Examples
    --------
    >>> on_front(np.array([0.1, 0.2, 0.3]), np.array([0.6, 0.55, 0.7])).tolist()
    [True, False, True]
    """
    points = np.vstack([REFERENCE, np.column_stack([kl, win_rate])])
    return moocore.is_nondominated(points, maximise=LOWER_KL_HIGHER_RATE, keep_weakly=True)[1:]


def front_shares(kl: Array, win_rate: Array, members: NDArray[np.int64], n_series: int) -> Array:
    """Return the share of the points on the pooled front that belongs to each series, NaN if there are none.

    With unequal numbers of policies the share favours the series that has more: were all on one curve, each
    policy would be on the front and the share be that of the policies. Compare the two.

    Parameters
    ----------
    members : ndarray of int, shape (S,)
        The number of each policy's series, below `n_series`.

    References
    ----------
    Amini et al., Variational best-of-N alignment (ICLR 2025), figure 2.
    """
    counts = np.bincount(members[on_front(kl, win_rate)], minlength=n_series)
    return counts / counts.sum() if counts.any() else np.full(n_series, np.nan)


def hypervolume(kl: Array, win_rate: Array, budget: float) -> float:
    """Return the area that the policies of a series dominate: KL up to a budget in nats, win rate above one half.

    Divided by the budget it is the mean gain of the best policy that a KL affords, over KLs from 0 to the
    budget. Policies beyond it, or below one half, add nothing.

    Examples
    --------
    >>> round(hypervolume(np.array([0.25, 0.5]), np.array([0.6, 0.7]), 1.0), 12)
    0.125
    """
    points = np.column_stack([kl, win_rate])
    return float(moocore.hypervolume(points, ref=[budget, REFERENCE[1]], maximise=LOWER_KL_HIGHER_RATE))
