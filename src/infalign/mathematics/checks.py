"""Checks of numeric input that every function of this floor shares."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from infalign.errors import InputError


def finite_array(values: ArrayLike, name: str, ndim: int | None = None) -> NDArray[np.float64]:
    """Return `values` as float64; an InputError that names them if empty, NaN, infinite or not of `ndim`."""
    array = np.asarray(values, dtype=np.float64)
    if ndim is not None and array.ndim != ndim:
        raise InputError(f"{name} must have {ndim} dimension(s), got shape {array.shape}")
    if array.size == 0:
        raise InputError(f"{name} is empty: at least one value is needed")
    bad = ~np.isfinite(array)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"{name} must be finite, got {array[where]} at index {where} "
            f"({int(bad.sum())} of {array.size} values are NaN or infinite); remove or rescore those rows"
        )
    return array


def positive(value: float, name: str) -> float:
    """Return `value` as a float, or raise an InputError unless it is a finite number above 0."""
    if not (np.isfinite(value) and value > 0):
        raise InputError(f"{name} must be a finite number > 0, got {value}")
    return float(value)


def strength(kl: float | None, beta: float | None) -> tuple[str, float]:
    """Return ("kl", value) or ("beta", value): the one of the two strengths that is given, finite and above 0.

    Examples
    --------
    >>> strength(None, 0.1)
    ('beta', 0.1)
    """
    if (kl is None) == (beta is None):
        raise InputError(f"give exactly one of kl and beta, got kl={kl} and beta={beta}")
    if kl is not None:
        return "kl", positive(kl, "kl")
    assert beta is not None
    return "beta", positive(beta, "beta")
