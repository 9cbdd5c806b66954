"""The optimal Φ for a procedure: the density f that maximises W^T(f) − β KL(f), by Newton's method.

Theorem 1 makes the optimum a fixed point, f ∝ exp(Φ_f / β) with Φ_f the functional derivative of W^T at
f. One solver serves every procedure: its `win_rate_derivative` is Φ_f, its `win_rate_kernel` the derivative
of that.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from infalign.errors import InputError
from infalign.mathematics.checks import strength
from infalign.mathematics.continuous import Density
from infalign.mathematics.procedures import Procedure, parse_procedure
from infalign.mathematics.quadrature import Panels
from infalign.mathematics.tilting import solve_log

TOLERANCE = 1e-9
GRID_TOLERANCE = 1e-8
SMALLEST_BETA = 1e-6
_NEWTON_STEPS = 80
_HALVINGS = 30
_STARTS = 3
_DEAD = -60.0
_REFINEMENTS = 8
_MOST_NODES = 1600


@dataclass(frozen=True, eq=False)
class OptimalSolution:
    """The optimal transformation for a procedure at one strength.

    Parameters
    ----------
    beta : float
        Of W − β KL.
    kl, win_rate : float
        Of the optimal policy, KL in nats.
    residual : float
        Sup norm over u of log f − (Φ_f/β − log Z).
    iterations : int
        Newton steps in all.
    converged : bool
        Whether the residual is within tolerance and the win rate stable to 1e-8 under doubling of the grid.
    u, phi : ndarray, shape (n,)
        The quantile grid, and Φ there, less its value at the last node.
    """

    transform: str
    procedure: str
    beta: float
    kl: float
    win_rate: float
    residual: float
    iterations: int
    converged: bool
    u: NDArray[np.float64]
    phi: NDArray[np.float64]

    def at(self, u: ArrayLike) -> NDArray[np.float64]:
        """Φ at quantiles u in [0, 1], any shape, by a cubic spline; an InputError if not converged."""
        self.require_converged()
        nodes, first = np.unique(self.u, return_index=True)
        return CubicSpline(nodes, self.phi[first])(np.asarray(u, dtype=np.float64))

    def require_converged(self) -> None:
        """Raise an InputError that says what was reached, unless the solution converged."""
        if not self.converged:
            raise InputError(
                f"{self.transform} did not converge at beta {self.beta:.6g}: the residual is "
                f"{self.residual:.3g} after {self.iterations} steps; use a larger beta or a smaller kl"
            )


def _gap(procedure: Procedure, density: Density, beta: float) -> tuple[Density, NDArray[np.float64]]:
    """The density, at the map's value where both are below e^{−60}, and the map's log ratio to it."""
    image = Density(density.panels, procedure.win_rate_derivative(density) / beta).log_f
    dead = (density.log_f < _DEAD) & (image < _DEAD)
    if dead.any():
        density = Density(density.panels, np.where(dead, image, density.log_f))
    return density, image - density.log_f


def _tolerance(density: Density) -> float:
    """What rounding leaves of the residual where log f spans many thousands."""
    return TOLERANCE + 1e-12 * float(np.ptp(density.log_f))


def _objective(procedure: Procedure, density: Density, beta: float) -> float:
    return procedure.win_rate(density) - beta * density.kl


def _newton(procedure: Procedure, density: Density, beta: float, climbing: bool) -> tuple[Density, int, bool]:
    """Newton's method until the residual is at its rounding error; climbing keeps to an ascent of the objective."""
    density, gap = _gap(procedure, density, beta)
    size = float(np.abs(gap).max())
    reached = size <= _tolerance(density)
    for step in range(_NEWTON_STEPS):
        moved = _step(procedure, density, gap, beta, climbing, 1 if reached else _HALVINGS)
        if moved is None:
            return density, step + 1, reached
        if reached and np.abs(moved[1]).max() > size / 10:
            return density, step + 1, True
        density, gap = moved
        size = float(np.abs(gap).max())
        reached = size <= _tolerance(density)
    return density, _NEWTON_STEPS, reached


def _step(
    procedure: Procedure,
    density: Density,
    gap: NDArray[np.float64],
    beta: float,
    climbing: bool,
    most_halvings: int,
) -> tuple[Density, NDArray[np.float64]] | None:
    """The longest halved step along the solution of the linearised fixed-point equation that is accepted."""
    mass = density.panels.weights * density.f
    change = procedure.win_rate_kernel(density) * (density.f / beta)
    change -= mass @ change
    direction = np.linalg.solve(np.eye(len(gap)) - change, gap - mass @ gap)
    if climbing and mass @ (gap * direction) <= 0:
        direction = gap
    rise, size = beta * float(mass @ (gap * direction)), float(np.abs(gap).max())
    objective = _objective(procedure, density, beta)
    for halvings in range(most_halvings):
        share = 0.5**halvings
        trial, trial_gap = _gap(procedure, Density(density.panels, density.log_f + share * direction), beta)
        falls = np.abs(trial_gap).max() < (1 - 0.1 * share) * size
        gain = _objective(procedure, trial, beta) - objective if climbing else 0.0
        if (falls and gain > -1e-13) or (climbing and gain > max(1e-4 * share * rise, 1e-13)):
            return trial, trial_gap
    return None


def _starts(procedure: Procedure, panels: Panels, beta: float) -> list[Density]:
    """The best few, by the objective, of densities with a spike at the top or a dip at the bottom."""
    peak = procedure.peak
    widths = 4.0 ** -np.arange(-1, len(panels.upper))
    shares = 0.25 ** np.arange(0, 1 + np.log2(1 + peak) / 2)
    logits = [np.zeros(len(panels.u))]
    with np.errstate(under="ignore"):
        for share in shares:
            logits += [
                np.log(1 - share + share / w * np.exp(-panels.complement / w) + 1e-300)
                if share < 1
                else -panels.complement / w
                for w in widths
            ]
    for depth in 4.0 ** np.arange(0, 3 + np.log2(1 + peak / beta) / 2):
        logits += [-depth * np.exp(-rate * panels.u) for rate in dict.fromkeys((1.0, peak))]
    densities = [Density(panels, values) for values in logits]
    order = np.argsort([-_objective(procedure, density, beta) for density in densities])
    return [densities[i] for i in order[:_STARTS]]


def _polished(procedure: Procedure, start: Density, beta: float) -> tuple[Density, int, bool]:
    """Newton's method from a start that is nearly a solution; climbing where it goes astray."""
    density, steps, converged = _newton(procedure, start, beta, climbing=False)
    if converged and _objective(procedure, density, beta) > _objective(procedure, start, beta) - GRID_TOLERANCE:
        return density, steps, True
    density, more, converged = _newton(procedure, start, beta, climbing=True)
    return density, steps + more, converged


def _best(procedure: Procedure, beta: float, near: Density | None) -> tuple[Density, int, bool]:
    """The converged solution with the best objective from several starts, on panels that resolve it."""
    panels = procedure.optimum_panels(beta)
    concave = procedure.concave
    ways = (True,) if concave else (False, True)  # climbing, and where the win rate is not concave also freely
    starts = _starts(procedure, panels, beta)[: 1 if concave or near is not None else _STARTS]
    attempts = [] if near is None else [_polished(procedure, near.carried(panels), beta)]
    if not (attempts and attempts[0][2] and concave):
        attempts += [_newton(procedure, start, beta, climbing) for start in starts for climbing in ways]
    density, _, converged = max(attempts, key=lambda each: (each[2], _objective(procedure, each[0], beta)))
    steps = sum(steps for _, steps, _ in attempts)
    for _ in range(_REFINEMENTS):
        marked = _unresolved(density)
        if not (converged and marked.any()) or len(density.f) > _MOST_NODES:
            break
        start = density.carried(density.panels.split(marked))
        density, more, converged = _polished(procedure, start, beta)
        steps += more
    return density, steps, converged


def _unresolved(density: Density) -> NDArray[np.bool_]:
    """The panels whose polynomial does not hold the density or its logarithm."""
    panels = density.panels
    mass = panels.roughness(density.f) * panels.half_widths
    held = panels.roughness(density.log_f) < 1e-9 + 1e-12 * np.ptp(density.log_f)
    return (mass > 1e-12) | ~(held | (density.f.reshape(len(mass), -1).max(axis=1) < 1e-12))


def optimal_density(
    procedure: Procedure, *, kl: float | None = None, beta: float | None = None
) -> tuple[OptimalSolution, Density]:
    """Return the solution of `optimal` with the density of its policy; the strength and the errors are the same."""
    kind, value = strength(kl, beta)
    return _solution(procedure, kind, value)


@lru_cache(maxsize=256)
def _solution(procedure: Procedure, kind: str, value: float) -> tuple[OptimalSolution, Density]:
    beta = value if kind == "beta" else _beta_for_kl(procedure, value)
    density, steps, converged = _best(procedure, beta, None)
    doubled = density.carried(density.panels.split(np.ones(len(density.panels.half_widths), dtype=bool)))
    finer, more, finer_converged = _polished(procedure, doubled, beta)
    rate, panels = procedure.win_rate(finer), finer.panels
    stable = abs(rate - procedure.win_rate(density)) <= GRID_TOLERANCE
    phi = procedure.win_rate_derivative(finer)
    residual = float(np.abs(_gap(procedure, finer, beta)[1]).max())
    text = procedure.text
    solution = OptimalSolution(
        transform=f"optimal({text})",
        procedure=text,
        beta=beta,
        kl=finer.kl,
        win_rate=rate,
        residual=residual,
        iterations=steps + more,
        converged=bool(converged and finer_converged and stable),
        u=panels.u,
        phi=phi - phi[-1],
    )
    return solution, finer


def _beta_for_kl(procedure: Procedure, kl: float) -> float:
    """The β whose optimum has the budget's KL; an error if the optimum jumps over it."""
    known: list[Density] = []

    def achieved(beta: float) -> float:
        beta = max(beta, SMALLEST_BETA)
        density, _, converged = _best(procedure, beta, known[-1] if known else None)
        if not converged:
            raise InputError(
                f"optimal({procedure.text}) does not converge at beta {beta:.3g} on the way to kl {kl}; "
                "use a smaller kl, or beta directly"
            )
        known.append(density)
        if beta == SMALLEST_BETA and density.kl < kl:
            raise InputError(
                f"kl must be at most {density.kl:.4g} nats for optimal({procedure.text}), the largest it "
                f"reaches (at beta {SMALLEST_BETA:g}), got {kl}"
            )
        return density.kl

    beta = solve_log(achieved, kl, 1.0)
    if abs(achieved(beta) - kl) > 1e-6 * max(kl, 1.0):
        raise InputError(f"optimal({procedure.text}) has no optimum with kl {kl}: its kl jumps past it at beta {beta}")
    return beta


def optimal(procedure: str | Procedure, *, kl: float | None = None, beta: float | None = None) -> OptimalSolution:
    """Return the transformation that is optimal for a procedure at a KL budget or a β.

    For won and sbon, whose win rate is not concave in the density, it is the best of several starts. `converged` is
    False if the fixed point was not reached; nothing else says so. No β reaching the budget is an InputError.

    Parameters
    ----------
    procedure : str or Procedure
    kl : float, optional
        KL budget in nats, > 0.
    beta : float, optional
        The β > 0 of the objective W − β KL. Exactly one of `kl` and `beta` is given.

    References
    ----------
    Balashankar et al. 2025, InfAlign, Theorem 1 and Corollary 2.

    Examples
    --------
    >>> solution = optimal("bon(4)", beta=0.1)
    >>> solution.converged, solution.residual < 1e-8, round(solution.win_rate, 8)
    (True, True, 0.93116998)
    """
    return optimal_density(parse_procedure(procedure), kl=kl, beta=beta)[0]
