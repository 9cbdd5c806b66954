"""Which exponential transform is best for each N, in theory, offline and among the trained policies."""

from __future__ import annotations

from infalign.presentation.figure import FigureEntry
from infalign.records.config import Config
from infalign.studies.exponents.block import Exponents, exponents_problems
from infalign.studies.exponents.claims import ExponentGrowth, ExponentLead
from infalign.study import Study

TABLES = ("exponents", "best_exponents")
CAPTION = (
    "**Exponents.** Win rate at KL {kl:g} of the exponential transforms exp(t) over t, for little and much "
    "inference-time compute. Black: the ideal frontier of the continuous model, with a star at its best exponent. The "
    "search ends at the number of rollouts, beyond which calibration cannot tell responses apart. Blue: the offline "
    "frontier, the exact tilt of the scored reference rollouts. It is biased towards one half where N is above a "
    "tenth of the rollouts. Red: trained policies, interpolated at the KL. Dashed: the raw reward, offline. "
    "Dotted: the paper's exponents. Bars and bands are 95 % bootstrap intervals over prompts."
)


def _figures(block: Exponents, config: Config) -> list[FigureEntry]:
    draw = "infalign.studies.exponents.figures:draw_exponents"
    return [FigureEntry("exponents", draw, TABLES, CAPTION.format(kl=block.kl))]


STUDY = Study(
    "exponents",
    kind=Exponents | None,
    description="default: not computed",
    problems=lambda block, config: exponents_problems(block, config.evaluation.n, config.goals),
    figures=_figures,
    claims=(ExponentLead, ExponentGrowth),
)
