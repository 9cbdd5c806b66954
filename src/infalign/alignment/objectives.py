"""What a policy is trained to maximise: a reward, raw or transformed, and the weight of the KL."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from infalign.errors import InputError
from infalign.mathematics.calibration import (
    AnchorCurve,
    Calibrator,
    anchored_calibration,
    empirical_calibration,
    fit_anchors,
    parse_calibrator,
)
from infalign.mathematics.checks import finite_array, strength
from infalign.mathematics.optimum import OptimalSolution, optimal
from infalign.mathematics.tilting import beta_for_kl, tilt_kl
from infalign.mathematics.transforms import Transform, parse_transform


@dataclass(frozen=True)
class Objective:
    """E[value(reward)] − β·KL(policy ‖ reference); made by `build_objective`.

    Parameters
    ----------
    transform : of the calibrated reward; raw: the reward itself, centred and scaled.
    calibrator : None for raw.
    ties : how the empirical calibration counts equal rewards: half, weak or strict.
    reference : prompt_id to the rewards of the rollouts that calibrate it, (n_rollouts,).
    center, spread : mean and standard deviation of all reference rewards.
    curves : prompt_id to its anchors; empty for the empirical calibration.
    solution : of the optimal transform; None for the others.
    beta : weight of the KL, in the units of `values`.
    beta_paper : the same in the units of the papers: of Φ as printed, or of the raw reward.
    kl : mean KL in nats of the exact tilt of the reference rollouts at this β.
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
        """Turn rewards into what is maximised.

        Parameters
        ----------
        prompt_ids : n prompts, all among the reference rollouts.
        rewards : (n,), finite.
        reference_log_probs : unused; other objectives need them.

        Returns
        -------
        (n,): (reward − center) / spread for raw, else the scaled Φ of the calibrated reward.

        Raises
        ------
        InputError
            A prompt has no reference rollouts.
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
        """Hash of everything `values` and β depend on."""
        facts = [self.transform.text, self.calibrator and self.calibrator.text, self.ties, self.beta]
        digest = hashlib.sha256(json.dumps(facts).encode())
        for prompt_id, rewards in self.reference.items():
            digest.update(prompt_id.encode() + np.asarray(rewards, dtype=float).tobytes())
        return digest.hexdigest()


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
    """Make the objective of a policy from the scored reference rollouts of its training prompts.

    Parameters
    ----------
    scores : columns prompt_id, sample_id, reward; the same number K of rollouts for every prompt.
    reward : raw, identity, log, exp(t) or optimal(<procedure>).
    calibrator : empirical or anchors(p); ignored for raw.
    n_rollouts : the first so many of the K calibrate the rewards; None: all.
    ties : half, weak or strict (empirical only; log always counts strictly).
    kl : nats, above 0; β is such that the exact tilt of all K rollouts has this mean KL.
    beta : the paper's own; of Φ as printed (exp(10): e^(10u)), for raw of the unscaled reward.

    Returns
    -------
    Objective

    Raises
    ------
    InputError
        Unknown reward or calibrator, not exactly one of kl and beta, n_rollouts not in 1 .. K, unequal
        numbers of rollouts, all rewards equal (raw), or a KL out of reach.

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
    every = _rewards_by_prompt(scores)
    used = _first(every, n_rollouts)
    parsed = _calibrator(transform, calibrator)
    center, spread = _center_and_spread(every, transform)
    curves = {}
    if parsed is not None and parsed.p is not None:
        curves = {prompt_id: fit_anchors(rewards, center, parsed.p) for prompt_id, rewards in used.items()}
    solution = None if transform.procedure is None else optimal(transform.procedure, kl=kl, beta=beta)
    draft = Objective(transform, parsed, ties, used, center, spread, curves, solution)
    return _with_strength(draft, _values_in_sample(draft, every), kl, beta)


def _calibrator(transform: Transform, text: str | None) -> Calibrator | None:
    if transform.name == "raw":
        return None
    if text is None:
        raise InputError(
            f"{transform.text} acts on a calibrated reward, got no calibrator; give empirical or anchors(p)"
        )
    return parse_calibrator(text)


def _rewards_by_prompt(scores: pl.DataFrame) -> dict[str, np.ndarray]:
    if scores.is_empty():
        raise InputError(
            "the reference scores have no rows; score the rollouts of the training prompts first"
        )
    groups = (
        scores.sort("sample_id").group_by("prompt_id", maintain_order=True).agg("reward").sort("prompt_id")
    )
    rewards = {
        prompt_id: np.asarray(values, dtype=float)
        for prompt_id, values in zip(groups["prompt_id"], groups["reward"].to_list(), strict=True)
    }
    counts = sorted({len(values) for values in rewards.values()})
    if len(counts) > 1:
        raise InputError(
            f"every prompt needs the same number of reference rollouts, got from {counts[0]} to {counts[-1]}"
        )
    return {
        prompt_id: finite_array(values, f"reward of {prompt_id}") for prompt_id, values in rewards.items()
    }


def _first(every: dict[str, np.ndarray], n_rollouts: int | None) -> dict[str, np.ndarray]:
    available = len(next(iter(every.values())))
    if n_rollouts is None:
        return every
    if not 1 <= n_rollouts <= available:
        raise InputError(
            f"n_rollouts must be from 1 to {available} (rollouts of a prompt), got {n_rollouts}; "
            "lower it or roll out more"
        )
    return {prompt_id: rewards[:n_rollouts] for prompt_id, rewards in every.items()}


def _center_and_spread(every: dict[str, np.ndarray], transform: Transform) -> tuple[float, float]:
    rewards = np.concatenate(list(every.values()))
    spread = float(rewards.std())
    if transform.name == "raw" and spread == 0:
        raise InputError(
            f"all {len(rewards)} reference rewards are equal ({rewards[0]}): "
            "nothing can be learnt from them; check the reward model"
        )
    return float(rewards.mean()), spread


def _values_in_sample(draft: Objective, every: dict[str, np.ndarray]) -> np.ndarray:
    """Values of the K rollouts themselves, (prompts, K), each calibrated against all K."""
    if draft.calibrator is None:
        return np.stack([(rewards - draft.center) / draft.spread for rewards in every.values()])
    rows = []
    for prompt_id, rewards in every.items():
        if draft.curves:
            rows.append(anchored_calibration(rewards, draft.curves[prompt_id], draft.center))
        else:
            ties = "strict" if draft.transform.strict else "half"
            rows.append(empirical_calibration(rewards, rewards, ties=ties))
    return draft._transformed(np.stack(rows), len(rows[0]))


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
