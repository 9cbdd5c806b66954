"""The objective of a policy: a reward, raw or transformed, and the weight of the KL."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from infalign.alignment.rollouts import check_n_rollouts, rollouts_by_prompt
from infalign.errors import InputError
from infalign.mathematics.calibration import (
    AnchorCurve,
    Calibrator,
    anchored_calibration,
    empirical_calibration,
    fit_anchors,
    parse_calibrator,
)
from infalign.mathematics.checks import strength
from infalign.mathematics.optimum import OptimalSolution, optimal
from infalign.mathematics.tilting import beta_for_kl, tilt_kl
from infalign.mathematics.transforms import Transform, parse_transform
from infalign.records.policy import Policy


@dataclass(frozen=True)
class Objective:
    """E[value(reward)] − β·KL(policy ‖ reference); made by `build_objective`.

    Parameters
    ----------
    transform : Transform
        Of the calibrated reward; raw: the reward itself, centred and scaled.
    ties : str
        How the empirical calibration counts equal rewards: half, weak or strict.
    reference : dict of str to ndarray, shape (n_rollouts,) each
        Rewards of the rollouts that calibrate, by prompt_id.
    center, spread : float
        Mean and standard deviation of all reference rewards.
    curves : dict of str to AnchorCurve
        By prompt_id; empty for the empirical calibration.
    solution : OptimalSolution or None
        Of the optimal transform; None for the others.
    beta, beta_paper : float
        Weight of the KL in the units of `values`, and in those of the papers: of Φ as printed, or of the raw reward.
    kl : float
        Mean KL in nats of the exact tilt of the reference rollouts at this β.
    """

    transform: Transform
    calibrator: Calibrator | None
    ties: str
    reference: dict[str, np.ndarray]
    center: float
    spread: float
    curves: dict[str, AnchorCurve]
    solution: OptimalSolution | None
    beta: float = math.nan
    beta_paper: float = math.nan
    kl: float = math.nan

    def values(
        self, prompt_ids: Sequence[str], rewards: np.ndarray, reference_log_probs: np.ndarray | None = None
    ) -> np.ndarray:
        """Turn rewards into the values whose mean is maximised.

        Parameters
        ----------
        prompt_ids : sequence of str, length n
            All among the reference rollouts; another prompt is an InputError.
        reference_log_probs : ndarray, optional
            Unused; other objectives need it.

        Returns
        -------
        ndarray, shape (n,)
            (reward − center) / spread for raw, else the scaled Φ of the calibrated reward.
        """
        rewards = np.asarray(rewards, dtype=float)
        if self.calibrator is None:
            return (rewards - self.center) / self.spread
        out = np.empty(len(rewards))
        for prompt_id, rows in _rows_by_prompt(prompt_ids).items():
            if prompt_id not in self.reference:
                raise InputError(
                    f"prompt_id {prompt_id!r} has no reference rollouts to calibrate with "
                    f"({len(self.reference)} prompts have); roll it out or leave it out"
                )
            out[rows] = self._calibrated(prompt_id, rewards[rows])
        return self._transformed(out, len(next(iter(self.reference.values()))))

    def _calibrated(self, prompt_id: str, rewards: np.ndarray) -> np.ndarray:
        if self.curves:
            return anchored_calibration(rewards, self.curves[prompt_id], self.center)
        ties = "strict" if self.transform.strict else self.ties
        return empirical_calibration(rewards, self.reference[prompt_id], ties=ties)

    def _transformed(self, calibrated: np.ndarray, n_rollouts: int) -> np.ndarray:
        if self.solution is not None:
            return self.solution.at(calibrated)
        return self.transform.scaled(calibrated, None if self.curves else n_rollouts)

    @property
    def fingerprint(self) -> str:
        """Hash of everything that `values` and β depend on."""
        settings = [self.transform.text, self.calibrator and self.calibrator.text, self.ties, self.beta]
        digest = hashlib.sha256(json.dumps(settings).encode())
        for prompt_id, rewards in self.reference.items():
            digest.update(prompt_id.encode() + np.asarray(rewards, dtype=float).tobytes())
        return digest.hexdigest()

    @property
    def measures(self) -> dict[str, float]:
        """Strengths of the KL, for the policy's manifest."""
        return {"beta": self.beta_paper, "beta_scaled": self.beta, "tilt_kl": self.kl}


def policy_objective(policy: Policy, scores: pl.DataFrame) -> Objective:
    """Make the objective that a policy with a reward is trained for; see `build_objective`."""
    assert policy.reward is not None
    return build_objective(
        scores,
        policy.reward,
        policy.calibrator,
        n_rollouts=policy.n_rollouts,
        ties=policy.ties or "half",
        **{policy.strength_kind: policy.strength},  # type: ignore[arg-type]
    )


def build_objective(
    scores: pl.DataFrame,
    reward: str,
    calibrator: str | None = "empirical",
    *,
    n_rollouts: int | None = None,
    ties: str = "half",
    kl: float | None = None,
    beta: float | None = None,
) -> Objective:
    """Make an objective from the scored reference rollouts of the training prompts.

    Parameters
    ----------
    scores : polars.DataFrame
        Columns prompt_id, sample_id, reward; the same number K of rollouts for every prompt.
    reward, calibrator : str
        raw, identity, log, exp(t) or optimal(<procedure>); empirical or anchors(p), ignored for raw.
    n_rollouts : int, optional
        The first so many of the K rollouts calibrate the rewards; by default all.
    ties : str
        half, weak or strict (empirical only; log always counts strictly).
    kl, beta : float, optional
        Exactly one, above 0. The exact tilt of all K rollouts has mean KL `kl` in nats; `beta` is that of the
        papers: of Φ as printed (exp(10): e^(10u)), for raw of the unscaled reward.

    Raises
    ------
    InputError
        Any of these out of range, unequal numbers of rollouts, all rewards equal (raw), or a KL out of reach.

    References
    ----------
    Balashankar et al. 2025, InfAlign, algorithm 1.

    Examples
    --------
    >>> table = pl.DataFrame(
    ...     {"prompt_id": ["a"] * 4, "sample_id": range(4), "reward": [1.0, 2.0, 3.0, 4.0]}
    ... )
    >>> objective = build_objective(table, "identity", beta=0.05)
    >>> objective.values(["a", "a"], np.array([2.5, 4.0])).tolist()
    [0.5, 0.875]
    """
    transform = parse_transform(reward)
    strength(kl, beta)
    prompt_ids, (rewards,) = rollouts_by_prompt(scores, "reward")
    check_n_rollouts(n_rollouts, rewards.shape[1])
    used = dict(zip(prompt_ids, rewards[:, :n_rollouts], strict=True))
    parsed = _calibrator(transform, calibrator)
    center, spread = _center_and_spread(rewards, transform)
    curves = {}
    if parsed is not None and parsed.p is not None:
        curves = {prompt_id: fit_anchors(row, center, parsed.p) for prompt_id, row in used.items()}
    solution = None if transform.procedure is None else optimal(transform.procedure, kl=kl, beta=beta)
    draft = Objective(transform, parsed, ties, used, center, spread, curves, solution)
    return _with_strength(draft, _values_in_sample(draft, prompt_ids, rewards), kl, beta)


def _calibrator(transform: Transform, text: str | None) -> Calibrator | None:
    if transform.name == "raw":
        return None
    if text is None:
        raise InputError(
            f"{transform.text} acts on a calibrated reward, got no calibrator; give empirical or anchors(p)"
        )
    return parse_calibrator(text)


def _center_and_spread(rewards: np.ndarray, transform: Transform) -> tuple[float, float]:
    spread = float(rewards.ravel().std())
    if transform.name == "raw" and spread == 0:
        raise InputError(
            f"all {rewards.size} reference rewards are equal ({rewards[0, 0]}): "
            "nothing can be learnt from them; check the reward model"
        )
    return float(rewards.ravel().mean()), spread


def _values_in_sample(draft: Objective, prompt_ids: list[str], rewards: np.ndarray) -> np.ndarray:
    """Values of the K rollouts themselves, (prompts, K), each calibrated against all K."""
    if draft.calibrator is None:
        return (rewards - draft.center) / draft.spread
    if draft.curves:
        rows = [
            anchored_calibration(row, draft.curves[prompt_id], draft.center)
            for prompt_id, row in zip(prompt_ids, rewards, strict=True)
        ]
    else:
        ties = "strict" if draft.transform.strict else "half"
        rows = [empirical_calibration(row, row, ties=ties) for row in rewards]
    return draft._transformed(np.stack(rows), rewards.shape[1])


def _with_strength(draft: Objective, values: np.ndarray, kl: float | None, beta: float | None) -> Objective:
    unit = draft.spread if draft.calibrator is None else math.exp(draft.transform.log_scale)
    kind, amount = strength(kl, beta)
    used = beta_for_kl(values, amount) if kind == "kl" else amount / unit
    return replace(draft, beta=used, beta_paper=used * unit, kl=float(tilt_kl(values, used).mean()))


def _rows_by_prompt(prompt_ids: Sequence[str]) -> dict[str, np.ndarray]:
    rows: dict[str, list[int]] = {}
    for row, prompt_id in enumerate(prompt_ids):
        rows.setdefault(prompt_id, []).append(row)
    return {prompt_id: np.array(positions) for prompt_id, positions in rows.items()}
