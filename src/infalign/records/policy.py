"""One policy to train, and its name in paths, tables and logs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal

from infalign.records.methods import Strength


@dataclass(frozen=True)
class Policy:
    """What one policy is trained for.

    Attributes
    ----------
    method : str
        Name of its settings in the configuration.
    reward : str, optional
        `raw` or the text form of a transform; None where the method itself says what it asks for.
    calibrator : str, optional
        Text form; None for `raw` and without a reward.
    n_rollouts : int, optional
        Reference rollouts per prompt that calibrate; None for `raw`.
    strength : float
        KL budget in nats, the paper's beta or the n of best-of-n, as `strength_kind` says.
    """

    task: str
    method: str
    reward: str | None
    calibrator: str | None
    n_rollouts: int | None
    ties: str | None
    strength_kind: Strength
    strength: float
    seed: int

    @property
    def slug(self) -> str:
        """Name of the policy in paths, tables and logs, e.g. `ppo-exp10-kl0.50-s0`.

        >>> Policy("helpful", "ppo", "exp(10)", "empirical", 100, "half", "kl", 0.5, 0).slug
        'ppo-exp10-kl0.50-s0'
        >>> Policy("helpful", "bonbon", None, None, None, None, "n", 8, 0).slug
        'bonbon-n8-s0'
        """
        parts = [self.method, *([file_name(self.reward)] if self.reward else [])]
        if self.calibrator not in (None, "empirical"):
            parts.append(file_name(self.calibrator))
        if self.n_rollouts not in (None, 100):
            parts.append(f"k{self.n_rollouts}")
        if self.ties not in (None, "half"):
            parts.append(self.ties)
        return "-".join([*parts, self.strength_kind + self._amount(), f"s{self.seed}"])

    def _amount(self) -> str:
        return str(int(self.strength)) if self.strength_kind == "n" else plain_number(self.strength)

    def row(self) -> dict[str, object]:
        """Return the policy as columns of the metrics table."""
        columns = asdict(self)
        return {"policy": self.slug, "transform": columns.pop("reward"), **columns}


def file_name(text: str) -> str:
    """Turn a text form into part of a file name.

    >>> file_name("optimal(bon(4))"), file_name("exp(-10)"), file_name("sbon(4, 5.0)")
    ('optimal_bon4', 'exp-10', 'sbon4_5.0')
    """
    head, _, bracket = text.partition("(")
    inner = bracket.removesuffix(")")
    if "(" in inner:
        return f"{head}_{file_name(inner)}"
    return head + inner.replace(", ", "_")


def plain_number(value: float) -> str:
    """Write a positive number without exponent and with at least two decimals, without loss.

    >>> plain_number(0.5), plain_number(0.125), plain_number(1e-5)
    ('0.50', '0.125', '0.00001')
    """
    text = format(Decimal(repr(float(value))), "f")
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals.ljust(2, '0')}"
