"""Integration over u in [0, 1] on panels that shrink towards both ends."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

NODES = 16
_X, _W = legendre.leggauss(NODES)
_VANDERMONDE = legendre.legvander(_X, NODES - 1)
_COEFFICIENTS = np.linalg.inv(_VANDERMONDE)
_RISING = (
    np.stack([legendre.legval(_X, legendre.legint(row, lbnd=-1)) for row in np.eye(NODES)], axis=1) @ _COEFFICIENTS
)
_FALLING = _RISING[::-1, ::-1]


@dataclass(frozen=True, eq=False)
class Panels:
    """Composite Gauss-Legendre panels on [0, 1]; nodes keep both u and 1 − u to full precision.

    Panel edges are kept as `lower`, shape (a,), in u, and `upper`, shape (b,), in 1 − u, both from 0 up to ½.

    Examples
    --------
    >>> panels = Panels.graded(4, 4)
    >>> bool(np.isclose(panels.integrate(panels.u**2), 1 / 3))
    True
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    @classmethod
    def graded(cls, lower_octaves: int, upper_octaves: int, per_octave: float = 1) -> "Panels":
        """Panels whose edges are ½ · 2^(−k / per_octave), down to the given number of octaves."""

        def edges(octaves: int) -> NDArray[np.float64]:
            count = int(np.ceil(octaves * per_octave))
            return np.concatenate([[0.0], 0.5 * 2.0 ** (-np.arange(count, -1, -1) / per_octave)])

        return cls(edges(lower_octaves), edges(upper_octaves))

    @cached_property
    def half_widths(self) -> NDArray[np.float64]:
        """Half the width of each panel, in the order of u, shape (p,)."""
        return np.concatenate([np.diff(self.lower), np.diff(self.upper)[::-1]]) / 2

    @cached_property
    def u(self) -> NDArray[np.float64]:
        """The nodes, shape (n,), increasing."""
        return np.concatenate([_nodes(self.lower), 1 - self._upper_nodes])

    @cached_property
    def complement(self) -> NDArray[np.float64]:
        """1 − u at the nodes, shape (n,), to full relative precision."""
        return np.concatenate([1 - _nodes(self.lower), self._upper_nodes])

    @cached_property
    def _upper_nodes(self) -> NDArray[np.float64]:
        return _nodes(self.upper)[::-1]

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """Quadrature weights, shape (n,), sum 1."""
        return np.outer(self.half_widths, _W).ravel()

    def integrate(self, values: NDArray[np.float64]) -> float:
        """The integral over [0, 1] of a function given at the nodes."""
        return float(self.weights @ values)

    def from_zero(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The integral from 0 to each node along the last axis."""
        panels = self._by_panel(values)
        before = np.cumsum(panels @ _W, axis=-1)
        before = np.concatenate([np.zeros_like(before[..., :1]), before[..., :-1]], axis=-1)
        return (panels @ _RISING.T + before[..., None]).reshape(values.shape)

    def to_one(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The integral from each node to 1 along the last axis."""
        panels = self._by_panel(values)
        after = np.cumsum((panels @ _W)[..., ::-1], axis=-1)[..., ::-1]
        after = np.concatenate([after[..., 1:], np.zeros_like(after[..., :1])], axis=-1)
        return (panels @ _FALLING.T + after[..., None]).reshape(values.shape)

    def _by_panel(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        shape = (*values.shape[:-1], len(self.half_widths), NODES)
        return values.reshape(shape) * self.half_widths[:, None]

    def roughness(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The size of the last two Legendre coefficients on each panel, shape (p,)."""
        return np.abs(values.reshape(-1, NODES) @ _COEFFICIENTS[-2:].T).max(axis=1)

    def split(self, marked: NDArray[np.bool_]) -> "Panels":
        """The panels with each marked one, shape (p,), cut in two halves."""
        n_lower = len(self.lower) - 1
        return Panels(_halved(self.lower, marked[:n_lower]), _halved(self.upper, marked[n_lower:][::-1]))

    def limited(self, width: float) -> "Panels":
        """The panels, halved until none is wider than `width`."""
        panels = self
        while (wide := 2 * panels.half_widths > width).any():
            panels = panels.split(wide)
        return panels

    def interpolate(self, values: NDArray[np.float64], target: "Panels") -> NDArray[np.float64]:
        """A function given at these nodes, evaluated at the nodes of other panels."""
        lower, upper = target.u < 0.5, target.u >= 0.5
        n_lower = NODES * (len(self.lower) - 1)
        result = np.empty(len(target.u))
        result[lower] = _evaluate(self.lower, values[:n_lower], target.u[lower])
        result[upper] = _evaluate(self.upper, values[n_lower:][::-1], target.complement[upper])
        return result


def _nodes(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gauss-Legendre nodes on each interval between edges, flat and increasing."""
    return (edges[:-1, None] + np.diff(edges)[:, None] * (1 + _X) / 2).ravel()


def _halved(edges: NDArray[np.float64], marked: NDArray[np.bool_]) -> NDArray[np.float64]:
    middles = (edges[:-1] + edges[1:]) / 2
    return np.sort(np.concatenate([edges, middles[marked]]))


def _evaluate(
    edges: NDArray[np.float64], values: NDArray[np.float64], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Evaluate the panel polynomials of values at points between the first and last edge."""
    index = np.clip(np.searchsorted(edges, points, side="right") - 1, 0, len(edges) - 2)
    local = 2 * (points - edges[index]) / (edges[index + 1] - edges[index]) - 1
    coefficients = values.reshape(-1, NODES) @ _COEFFICIENTS.T
    return np.einsum("ij,ij->i", legendre.legvander(local, NODES - 1), coefficients[index])
