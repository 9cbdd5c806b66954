"""How far two judges agree beyond chance: Cohen's kappa, with an interval over prompts."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infalign.errors import InputError
from infalign.mathematics.checks import finite_array
from infalign.mathematics.statistics import Interval, percentile_interval, resample_weights


def cohen_kappa(tables: ArrayLike) -> NDArray[np.float64]:
    """Return Cohen's kappa of tables of verdicts.

    Parameters
    ----------
    tables : array-like, shape (..., C, C)
        Counts or weights, >= 0: entry (i, j) is how often the first judge gave verdict i and the second j.

    Returns
    -------
    ndarray, shape (...)
        (agreement − chance)/(1 − chance), at most 1; NaN where chance agreement is certain (each judge
        always gives one and the same verdict) or a table is empty.

    Raises
    ------
    InputError
        If a table is not square, or an entry is negative or not finite.

    References
    ----------
    Cohen 1960, A coefficient of agreement for nominal scales.

    Examples
    --------
    >>> float(cohen_kappa([[20, 5], [10, 15]]).round(12))  # agreement 0.7, by chance 0.5
    0.4
    """
    tables = np.asarray(tables, dtype=np.float64)
    if tables.ndim < 2 or tables.shape[-1] != tables.shape[-2]:
        raise InputError(f"kappa needs square tables of verdicts, got shape {tables.shape}")
    if not np.isfinite(tables).all() or (tables < 0).any():
        raise InputError("kappa needs counts of verdicts, got an entry that is negative or not finite")
    total = tables.sum(axis=(-2, -1))
    share = np.divide(1.0, total, out=np.full_like(total, np.nan), where=total > 0)
    agreement = np.trace(tables, axis1=-2, axis2=-1) * share
    chance = (tables.sum(axis=-1) * tables.sum(axis=-2)).sum(axis=-1) * share**2
    left = 1 - chance
    return np.divide(agreement - chance, left, out=np.full_like(left, np.nan), where=left > 1e-12)


def bootstrap_kappa(tables: ArrayLike, level: float = 0.95, resamples: int = 2000, seed: int = 0) -> Interval:
    """Return Cohen's kappa over all prompts' verdicts with its bootstrap interval.

    Parameters
    ----------
    tables : array-like, shape (P, C, C)
        A table of verdicts for each prompt, as `cohen_kappa` takes it; prompts are resampled, never the verdicts
        within them.
    level, resamples, seed
        As in `bootstrap_mean`.

    Returns
    -------
    Interval
        Of the kappa of the tables' sum; NaN where it is undefined, the bounds also where it is so in more than
        (1 − level)/2 of the resamples, and for a single prompt.

    Raises
    ------
    InputError
        As `cohen_kappa`, or if there is no prompt.

    Examples
    --------
    >>> bootstrap_kappa([[[3, 0], [0, 1]], [[3, 0], [0, 1]]])
    Interval(estimate=1.0, low=1.0, high=1.0)
    """
    tables = finite_array(tables, "table of verdicts", 3)
    prompts = len(tables)
    if prompts < 2:
        return Interval(float(cohen_kappa(tables[0])), np.nan, np.nan)
    weights = resample_weights(prompts, resamples, seed)
    kappas = cohen_kappa((weights @ tables.reshape(prompts, -1)).reshape(-1, *tables.shape[1:]))
    return percentile_interval(kappas, level)
