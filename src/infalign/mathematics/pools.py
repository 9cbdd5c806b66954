"""Pools of scored responses, sorted by the proxy reward that a procedure selects by."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infalign.errors import InputError
from infalign.mathematics.checks import finite_array
from infalign.mathematics.ranks import tie_bounds


@dataclass(frozen=True, eq=False)
class Pools:
    """The scored responses of each prompt, at least 2 each, sorted by the proxy.

    Parameters
    ----------
    proxy, true : sequences of P array-likes, shapes (m,)
        Proxy and true rewards of each prompt's m >= 2 responses, in any order; m may differ by prompt.
        Kept sorted by the proxy; responses with one proxy share the mean of their true rewards.

    Examples
    --------
    >>> Pools([[2.0, 1.0, 2.0]], [[0.0, 5.0, 1.0]]).true[0]
    array([5. , 0.5, 0.5])
    """

    proxy: Sequence[NDArray[np.float64]]
    true: Sequence[NDArray[np.float64]]

    def __post_init__(self) -> None:
        if len(self.proxy) != len(self.true) or not len(self.proxy):
            raise InputError(
                f"proxy and true rewards need the same prompts, at least 1, got {len(self.proxy)} and {len(self.true)}"
            )
        rows = [_sorted(*rewards) for rewards in zip(self.proxy, self.true, strict=True)]
        object.__setattr__(self, "proxy", tuple(row[0] for row in rows))
        object.__setattr__(self, "true", tuple(row[1] for row in rows))

    @cached_property
    def smallest(self) -> int:
        """The number of responses of the prompt that has fewest."""
        return min(map(len, self.proxy))

    @cached_property
    def spread(self) -> float:
        """The largest difference of two true rewards of one prompt."""
        return max(float(np.ptp(row)) for row in self.true)

    @cached_property
    def groups(self) -> tuple["_Group", ...]:
        """The prompts of each number of responses."""
        sizes = np.array([len(row) for row in self.proxy])
        places = [np.flatnonzero(sizes == m) for m in np.unique(sizes)]
        stacked = [[np.stack([rows[int(i)] for i in group]) for rows in (self.proxy, self.true)] for group in places]
        return tuple(_Group(group, *rewards) for group, rewards in zip(places, stacked, strict=True))


@dataclass(frozen=True, eq=False)
class _Group:
    """Prompts with equally many responses: their places, and rewards of shape (prompts, m)."""

    places: NDArray[np.int64]
    proxy: NDArray[np.float64]
    true: NDArray[np.float64]

    @cached_property
    def edges(self) -> NDArray[np.float64]:
        """k/m for k = 0..m."""
        return np.arange(self.true.shape[1] + 1) / self.true.shape[1]

    @cached_property
    def total(self) -> NDArray[np.float64]:
        """The true rewards summed over prompts, less their mean, shape (m,)."""
        total = self.true.sum(axis=0)
        return total - total.mean()


def _sorted(proxy: ArrayLike, true: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One prompt's rewards sorted by the proxy, true rewards averaged over ties."""
    proxy, true = finite_array(proxy, "proxy reward", 1), finite_array(true, "true reward", 1)
    if len(proxy) != len(true):
        raise InputError(f"a prompt has {len(proxy)} proxy rewards but {len(true)} true rewards")
    if len(proxy) < 2:
        raise InputError("every prompt needs at least 2 responses to choose from, got 1; sample more")
    order = np.argsort(proxy, kind="stable")
    proxy, true = proxy[order], true[order]
    first, last = (bounds[0] for bounds in tie_bounds(proxy[None]))
    total = np.concatenate([[0.0], np.cumsum(true)])
    tied = last - first > 1
    return proxy, np.where(tied, (total[last] - total[first]) / (last - first), true)
