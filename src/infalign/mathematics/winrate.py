"""Win rates through an inference-time procedure, exact over all size-N subsets of the samples."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infalign.errors import InputError
from infalign.mathematics.checks import finite_array
from infalign.mathematics.procedures import Procedure, parse_procedure
from infalign.mathematics.ranks import best_of_n_rank_weights


def selection_weights(
    select: ArrayLike, procedure: str | Procedure, quantiles: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Return the probability that each of m samples is what the procedure outputs, over all its size-n subsets alike.

    Samples tied in `select` share alike (bon, won, bop). Order-statistic weights: C(i − 1, n − 1) / C(m, n).

    Parameters
    ----------
    select : array-like, shape (m,)
        The score the procedure selects by.
    procedure : str or Procedure
        An InputError if it needs more than m samples.
    quantiles : array-like, shape (m,), optional
        For sbon: the quantile of each score under the reference policy; by default the mid-rank of
        `select` among itself.

    Examples
    --------
    >>> selection_weights([1.0, 1.0, 3.0], "won(2)").round(12)
    array([0.5, 0.5, 0. ])
    """
    select, procedure = finite_array(select, "selection score", 1), parse_procedure(procedure)
    _check_samples(len(select), procedure)
    ranks = None if quantiles is None else finite_array(quantiles, "quantile", 1)
    return procedure.selection_weights(select, ranks)


def _check_samples(m: int, procedure: Procedure) -> None:
    if procedure.min_samples > m:
        raise InputError(
            f"{procedure.text} needs at least {procedure.min_samples} samples per prompt on each side"
            f"{procedure.samples_reason}, got {m}; "
            "sample more responses or use a smaller procedure"
        )


def weighted_win_rate(judge: ArrayLike, weights: ArrayLike, other_judge: ArrayLike, other_weights: ArrayLike) -> float:
    """Return the chance that a draw on one side beats an independent one on the other by judge; ties count ½.

    Examples
    --------
    >>> weighted_win_rate([1.0, 2.0], [0.5, 0.5], [1.0], [1.0])
    0.75
    """
    judge, other = np.asarray(judge, dtype=np.float64), np.asarray(other_judge, dtype=np.float64)
    order = np.argsort(other, kind="stable")
    total = np.concatenate([[0.0], np.cumsum(np.asarray(other_weights, dtype=np.float64)[order])])
    below = total[np.searchsorted(other[order], judge, side="left")]
    up_to = total[np.searchsorted(other[order], judge, side="right")]
    return float(np.clip(np.asarray(weights) @ (below + up_to) / 2, 0.0, 1.0))


def expected_win_rate(
    policy_select: ArrayLike,
    policy_judge: ArrayLike,
    reference_select: ArrayLike,
    reference_judge: ArrayLike,
    procedure: str | Procedure,
    opponent: str | Procedure | None = None,
) -> float:
    """Return one prompt's win rate through a procedure, in [0, 1], over all size-n subsets on both sides.

    The judge decides the winner, a tie counts ½. An InputError if a side has too few samples.

    Parameters
    ----------
    policy_select, policy_judge : array-like, shape (m,)
        Of the policy's samples: the score the procedure selects by, and the judge's score.
    reference_select, reference_judge : array-like, shape (k,)
        The same for the reference policy's samples.
    procedure : str or Procedure
        Applied to the policy's samples.
    opponent : str or Procedure, optional
        Applied to the reference's; by default the same.

    References
    ----------
    Balashankar et al. 2025, InfAlign, Definition 4.

    Examples
    --------
    >>> expected_win_rate([1.0, 3.0], [1.0, 3.0], [0.0, 4.0], [0.0, 4.0], "bon(2)", "none")
    0.5
    """
    sides = [
        _side(policy_select, policy_judge, "policy"),
        _side(reference_select, reference_judge, "reference"),
    ]
    procedures = [parse_procedure(procedure), parse_procedure(procedure if opponent is None else opponent)]
    reference = np.sort(sides[1][0])
    weights = [
        selection_weights(select, each, _quantiles(select, reference))
        for (select, _), each in zip(sides, procedures, strict=True)
    ]
    return weighted_win_rate(sides[0][1], weights[0], sides[1][1], weights[1])


def _side(select: ArrayLike, judge: ArrayLike, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    scores = finite_array(select, f"{name} selection score", 1), finite_array(judge, f"{name} judge score", 1)
    if len(scores[0]) != len(scores[1]):
        raise InputError(f"{name}: {len(scores[0])} selection scores but {len(scores[1])} judge scores")
    return scores


def _quantiles(select: NDArray[np.float64], ordered_reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mid-rank quantile of each score among the sorted reference scores, in [0, 1]."""
    ends = [np.searchsorted(ordered_reference, select, side=side) for side in ("left", "right")]
    return (ends[0] + ends[1]) / (2 * len(ordered_reference))


def win_rate_by_prompt(
    policy_select: Sequence[ArrayLike],
    policy_judge: Sequence[ArrayLike],
    reference_select: Sequence[ArrayLike],
    reference_judge: Sequence[ArrayLike],
    procedure: str | Procedure,
    opponent: str | Procedure | None = None,
) -> NDArray[np.float64]:
    """Return the win rate of each prompt, shape (P,), from one array a prompt, as in `expected_win_rate`.

    The four sequences have the same P prompts in the same order; the lengths of the arrays may vary by prompt.
    """
    columns = (policy_select, policy_judge, reference_select, reference_judge)
    counts = {len(column) for column in columns}
    if len(counts) != 1 or counts == {0}:
        raise InputError(f"all four columns need the same number of prompts, at least 1, got {sorted(counts)}")
    procedures = [parse_procedure(procedure), parse_procedure(procedure if opponent is None else opponent)]
    return np.array([expected_win_rate(*row, *procedures) for row in zip(*columns, strict=True)])


def best_of_n_win_rate(select: ArrayLike, judge: ArrayLike, n: int) -> float:
    """Return one prompt's win rate of the best of n responses against another response of the same policy.

    Of the K responses every n candidates and every opponent among the others count alike, so the estimate is
    unbiased: no response competes with itself.

    Parameters
    ----------
    select, judge : array-like, shape (K,)
        The score that the best is picked by, where ties are picked alike, and the judge's score, which decides the
        winner, where a tie counts ½.
    n : int
        From 1 to K - 1.

    References
    ----------
    Amini et al., Variational best-of-N alignment (ICLR 2025), section 6: BoN against the reference.

    Examples
    --------
    >>> best_of_n_win_rate([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 2)
    0.6666666666666666
    """
    select, judge = _side(select, judge, "policy")
    if not 1 <= n < len(select):
        raise InputError(
            f"the best of n against another response needs 1 <= n < {len(select)}, the responses per prompt, "
            f"got {n}; sample more or lower n"
        )
    order = np.argsort(select, kind="stable")
    select, judge = select[order], judge[order]
    first, last = (np.searchsorted(select, select, side=side)[:, None] for side in ("left", "right"))
    below, tied = first >= last.T, first == first.T  # where the opponent (column) stands to a candidate (row)
    low, high = first - below, last - below - tied
    total = np.concatenate([[0.0], np.cumsum(best_of_n_rank_weights(len(select) - 1, n))])
    picked = (total[high] - total[low]) / np.maximum(high - low, 1)  # ties share their ranks' weights
    np.fill_diagonal(picked, 0.0)
    wins = (judge[:, None] > judge) + 0.5 * (judge[:, None] == judge)
    return float((picked * wins).sum(axis=0).mean())
