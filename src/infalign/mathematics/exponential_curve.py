"""The least-squares fit of log F = −a·exp(−b·x), a Gumbel law, that every smooth fit of log F uses."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares

from infalign.errors import InputError


def fit_exponential_curve(
    x: NDArray[np.float64], log_f: NDArray[np.float64], start: ArrayLike, prompt_id: str, **tolerances: float
) -> NDArray[np.float64]:
    """Return log a and log b of the curve log F = −a·exp(−b·x) that is nearest to one prompt's log F.

    Parameters
    ----------
    x, log_f : ndarray, shape (M,)
        Shifted or standardised rewards, and log F in nats, at most 0.
    start : array-like, shape (2,)
        Log a and log b to start from.
    prompt_id : str
        Names the prompt in the InputError where the least squares do not converge.
    tolerances : float
        xtol, ftol and gtol of `scipy.optimize.least_squares`.

    Examples
    --------
    >>> x = np.array([0.0, np.log(2)])
    >>> np.exp(fit_exponential_curve(x, np.array([-2.0, -1.0]), [0.5, 0.1], "a")).round(6)
    array([2., 1.])
    """
    with np.errstate(over="ignore"):  # a step too far; least squares steps back
        fit = least_squares(lambda logs: np.exp(logs[0] - np.exp(logs[1]) * x) + log_f, start, **tolerances)
    if not fit.success:
        raise InputError(
            f"log F of prompt_id {prompt_id!r} cannot be fitted by -a exp(-b x): {fit.message}; leave out the "
            "smooth fit, or roll out more"
        )
    return fit.x
