"""How each kind of claim is computed from a run's tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import Field

from infalign.presentation.measures.base import Bootstrap, Measured, Strict, Tables
from infalign.presentation.measures.calibration import (
    CalibrationDifference,
    CalibrationSaturation,
    calibration_difference,
    calibration_saturation,
)
from infalign.presentation.measures.exponents import (
    ExponentGrowth,
    ExponentLead,
    exponent_growth,
    exponent_lead,
)
from infalign.presentation.measures.frontiers import (
    CalibrationError,
    CurveDifference,
    DifferenceGrowth,
    IdealDifference,
    MedianShare,
    OfflineDifference,
    calibration_error,
    curve_difference,
    difference_growth,
    ideal_difference,
    median_share,
    offline_difference,
)
from infalign.presentation.measures.hedging import (
    ExtremaSlack,
    HedgeGain,
    PoissonGap,
    extrema_slack,
    hedge_gain,
    poisson_gap,
)
from infalign.presentation.measures.judges import (
    JudgedDifference,
    JudgeExcess,
    judge_excess,
    judged_difference,
)
from infalign.presentation.measures.language_judge import (
    JudgeKappa,
    PromptedDifference,
    judge_kappa,
    prompted_difference,
)
from infalign.presentation.measures.multitask import (
    CarriedLead,
    MultitaskGap,
    MultitaskReward,
    carried_lead,
    multitask_gap,
    multitask_reward,
)
from infalign.presentation.measures.poisoning import (
    PoisonedDrop,
    PoisonedLead,
    poisoned_drop,
    poisoned_lead,
)
from infalign.presentation.measures.seeds import EverySeed, every_seed
from infalign.presentation.measures.temperature import (
    TemperatureDifference,
    TemperatureDrop,
    temperature_difference,
    temperature_drop,
)
from infalign.presentation.measures.variational import (
    BoundSlack,
    FrontShare,
    GainKept,
    KLExcess,
    RejectionRate,
    SecondsRatio,
    bound_slack,
    front_share,
    gain_kept,
    kl_excess,
    rejection_rate,
    seconds_ratio,
)

__all__ = ["KINDS", "Bootstrap", "Measure", "Measured", "Tables", "measure"]


class NotRun(Strict):
    """A claim that this project does not measure yet, with the reason."""

    kind: Literal["not_run"]
    reason: str


def not_run(item: NotRun, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """Nothing to compute."""
    return Measured((), item.reason)


KINDS: dict[str, Callable[..., Measured]] = {
    "curve_difference": curve_difference,
    "difference_growth": difference_growth,
    "offline_difference": offline_difference,
    "ideal_difference": ideal_difference,
    "calibration_error": calibration_error,
    "median_share": median_share,
    "temperature_difference": temperature_difference,
    "temperature_drop": temperature_drop,
    "hedge_gain": hedge_gain,
    "extrema_slack": extrema_slack,
    "poisson_gap": poisson_gap,
    "front_share": front_share,
    "gain_kept": gain_kept,
    "kl_excess": kl_excess,
    "rejection_rate": rejection_rate,
    "seconds_ratio": seconds_ratio,
    "bound_slack": bound_slack,
    "poisoned_lead": poisoned_lead,
    "poisoned_drop": poisoned_drop,
    "prompted_difference": prompted_difference,
    "judge_kappa": judge_kappa,
    "multitask_gap": multitask_gap,
    "multitask_reward": multitask_reward,
    "carried_lead": carried_lead,
    "judged_difference": judged_difference,
    "judge_excess": judge_excess,
    "every_seed": every_seed,
    "exponent_lead": exponent_lead,
    "exponent_growth": exponent_growth,
    "calibration_difference": calibration_difference,
    "calibration_saturation": calibration_saturation,
    "not_run": not_run,
}


Measure = Annotated[
    CurveDifference
    | DifferenceGrowth
    | OfflineDifference
    | IdealDifference
    | CalibrationError
    | MedianShare
    | TemperatureDifference
    | TemperatureDrop
    | HedgeGain
    | ExtremaSlack
    | PoissonGap
    | FrontShare
    | GainKept
    | KLExcess
    | RejectionRate
    | SecondsRatio
    | BoundSlack
    | PoisonedLead
    | PoisonedDrop
    | PromptedDifference
    | JudgeKappa
    | MultitaskGap
    | MultitaskReward
    | CarriedLead
    | JudgedDifference
    | JudgeExcess
    | EverySeed
    | ExponentLead
    | ExponentGrowth
    | CalibrationDifference
    | CalibrationSaturation
    | NotRun,
    Field(discriminator="kind"),
]


def measure(item: Measure, tables: Tables, bootstrap: Bootstrap) -> Measured:
    """Compute what a claim is about.

    Parameters
    ----------
    item : a measure of claims.yaml.
    tables : the run's tables.
    bootstrap : level, resamples and seed of the intervals.

    Returns
    -------
    The intervals, or none and the reason why.
    """
    return KINDS[item.kind](item, tables, bootstrap)
