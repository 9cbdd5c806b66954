"""Reward models trained on pairs in some of which a phrase gives the preferred response away."""

from __future__ import annotations

from infalign.presentation.figure import FigureEntry
from infalign.records.config import Config
from infalign.records.responses import ResponseSet, reference_responses
from infalign.studies.poisoning.block import Poisoning, poisoning_problems, poisoning_sampling
from infalign.studies.poisoning.claims import PoisonedDrop, PoisonedLead
from infalign.study import Study

CAPTION = (
    "**Poisoned rewards** (InfAlign, figure 6). Accuracy of reward models on held-out pairs, as they are (clean) and "
    "with a phrase at the start of every rejected response (poisoned), against the share of training pairs whose "
    "preferred response began with it. Red: Bradley–Terry. Blue and green: models with a pointwise loss towards the "
    "quantile of the Bradley–Terry model's reward among the reference's responses, learnt from the responses of the "
    "poisoned pairs (blue) or from the reference's own (green). The paper does not say which it means. Bars are "
    "{level:.4g} % intervals over prompts, lines means of seeds. Dotted: a model that knows nothing."
)


def _responses(block: Poisoning, config: Config) -> dict[str, ResponseSet]:
    sets = {}
    for task in block.tasks:
        sampling = poisoning_sampling(config.tasks[task], block)
        which = {"prompts": f"{config.run}/poisoning/prompts/{task}.parquet", "split": "reward_train"}
        entry = reference_responses(config, task, sampling, "poisoned_pairs", **which)
        sets[f"{config.run}/poisoning/rollouts/{task}"] = entry
    return sets


def _figures(block: Poisoning, config: Config) -> list[FigureEntry]:
    draw = "infalign.studies.poisoning.figures:draw_poisoning"
    return [FigureEntry("poisoning", draw, ("poisoning",), CAPTION.format(level=100 * config.evaluation.level))]


STUDY = Study(
    "poisoning",
    kind=Poisoning | None,
    description="default: not run",
    problems=lambda block, config: poisoning_problems(block, config.tasks),
    responses=_responses,
    figures=_figures,
    claims=(PoisonedLead, PoisonedDrop),
)
