"""Ranks with ties, and the weights that a selection by rank gives to responses."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infalign.errors import InputError
from infalign.mathematics.checks import finite_array


def mid_ranks(values: ArrayLike) -> NDArray[np.float64]:
    """Return each finite value's rank among its own group along the last axis, as a quantile; ties share the middle.

    (#less + ½ #equal, itself included) / K, in (0, 1) with mean ½, shape (..., K).

    Examples
    --------
    >>> mid_ranks([3.0, 1.0, 1.0, 7.0])
    array([0.625, 0.25 , 0.25 , 0.875])
    """
    values = finite_array(values, "values")
    rows = values.reshape(-1, values.shape[-1])
    order = np.argsort(rows, axis=1, kind="stable")
    ordered = np.take_along_axis(rows, order, axis=1)
    first, last = tie_bounds(ordered)
    ranks = np.empty_like(rows)
    np.put_along_axis(ranks, order, (first + last) / (2 * rows.shape[1]), axis=1)
    return ranks.reshape(values.shape)


def tie_bounds(ordered: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each value's group of ties starts, and one past where it ends, in sorted rows, shape (P, K).

    Examples
    --------
    >>> tie_bounds(np.array([[1.0, 1.0, 2.0]]))
    (array([[0, 0, 2]]), array([[2, 2, 3]]))
    """
    n = ordered.shape[1]
    positions = np.broadcast_to(np.arange(n), ordered.shape)
    new = np.ones(ordered.shape, dtype=bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = np.maximum.accumulate(np.where(new, positions, 0), axis=1)
    closes = np.concatenate([new[:, 1:], np.ones_like(new[:, :1])], axis=1)
    last = np.minimum.accumulate(np.where(closes, positions + 1, n)[:, ::-1], axis=1)[:, ::-1]
    return first, last


def best_of_n_rank_weights(m: int, n: int) -> NDArray[np.float64]:
    """Return the chance that the i-th smallest of m distinct scores is the largest of a random size-n subset.

    C(i − 1, n − 1) / C(m, n) for i = 1..m, by the ratio (k − n)/k of C(k − 1, n) to C(k, n).

    Examples
    --------
    >>> best_of_n_rank_weights(3, 2).round(12)
    array([0.        , 0.33333333, 0.66666667])
    """
    weights = np.zeros(m)
    k = np.arange(m, n, -1)
    shares = np.exp(np.concatenate([[0.0], np.cumsum(np.log1p(-n / k))]))
    weights[n - 1 :] = shares[::-1] * n / np.arange(n, m + 1)
    return weights


def weights_by_rank(select: NDArray[np.float64], by_rank: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give each of m samples the weight of its rank by a score, averaged over its ties, shape (m,).

    Examples
    --------
    >>> weights_by_rank(np.array([2.0, 0.0, 2.0]), np.array([0.0, 0.25, 0.75]))
    array([0.5, 0. , 0.5])
    """
    order = np.argsort(select, kind="stable")
    first, last = (bounds[0] for bounds in tie_bounds(select[order][None]))
    total = np.concatenate([[0.0], np.cumsum(by_rank)])
    averaged = np.where(last - first == 1, by_rank, (total[last] - total[first]) / (last - first))
    weights = np.empty_like(averaged)
    weights[order] = averaged
    return weights


def weights_by_level(
    weights: NDArray[np.float64],
    select: NDArray[np.float64],
    level: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Return the distribution whose distribution function is G(F), F that of the weights in order of a score.

    Differences of G between the ends of each tie are shared in proportion to the weights; rows sum to 1.

    Parameters
    ----------
    weights, select : ndarray, shape (P, K)
        Probabilities of each prompt's responses, and the score they are ordered by.
    level : callable
        G of p in [0, 1] and of 1 − p.

    Examples
    --------
    >>> weights_by_level(np.array([[0.2, 0.8]]), np.array([[0.0, 1.0]]), lambda p, q: p**2).round(12)
    array([[0.04, 0.96]])
    """
    order = np.argsort(select, axis=1, kind="stable")
    first, last = tie_bounds(np.take_along_axis(select, order, axis=1))
    ordered = np.take_along_axis(weights, order, axis=1)
    below = np.pad(np.cumsum(ordered, axis=1), ((0, 0), (1, 0)))
    above = np.pad(np.cumsum(ordered[:, ::-1], axis=1)[:, ::-1], ((0, 0), (0, 1)))
    levels = level(np.minimum(below, 1.0), np.minimum(above, 1.0))
    mass = np.take_along_axis(below, last, axis=1) - np.take_along_axis(below, first, axis=1)
    gain = np.take_along_axis(levels, last, axis=1) - np.take_along_axis(levels, first, axis=1)
    result = np.zeros_like(weights)
    shares = np.divide(ordered, mass, out=np.zeros_like(mass), where=mass > 0)
    np.put_along_axis(result, order, shares * gain, axis=1)
    return result / result.sum(axis=1, keepdims=True)


def pairwise_agreement(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the share of response pairs that two scorers, each (P, K), order alike; ties count ½, NaN when K is 1.

    Examples
    --------
    >>> pairwise_agreement(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 3.0, 2.0]]))
    0.6666666666666666
    """
    if first.shape != second.shape or first.ndim != 2:
        raise InputError(f"agreement needs two arrays (prompts, responses), got {first.shape} and {second.shape}")
    if not len(first) or first.shape[1] < 2:
        return float("nan")
    above = np.triu_indices(first.shape[1], 1)  # one prompt at a time: K² of all of them fill the memory
    agreements = []
    for pair in zip(first, second, strict=True):
        orders = [np.sign(scores[:, None] - scores)[above] for scores in pair]
        agreements.append((1 + orders[0] * orders[1]).mean() / 2)
    return float(np.mean(agreements))
