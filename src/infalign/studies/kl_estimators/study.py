"""Three estimates of each policy's KL from the same responses."""

from __future__ import annotations

from infalign.presentation.figure import FigureEntry
from infalign.records.config import Config
from infalign.study import Study

CAPTION = (
    "**Three estimates of the KL.** All are of every policy and from the same responses: the log-ratio of each "
    "response (k1); (r − 1) − log r with r the response's probability under the reference over that under the "
    "policy (k3); and the exact KL of each position's next-token distributions summed over the response (full "
    "vocabulary), by which KL is reported everywhere else. All three have the same mean. Left: mean of k1 and k3 "
    "less that of the full vocabulary, paired by prompt, with 95 % intervals over prompts. Right: variance of one "
    "response's estimate within a prompt, over that of the full vocabulary."
)


def _figures(block: bool, config: Config) -> list[FigureEntry]:
    draw = "infalign.studies.kl_estimators.figures:draw_kl_estimators"
    return [FigureEntry("kl_estimators", draw, ("kl_estimators",), CAPTION)]


STUDY = Study(
    "kl_estimators",
    kind=bool,
    default=False,
    description="whether three estimates of each policy's KL are compared",
    figures=_figures,
)
