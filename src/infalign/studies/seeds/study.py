"""What other seeds of training change in the main comparison."""

from __future__ import annotations

from infalign.presentation.figure import FigureEntry
from infalign.records.comparisons import several_seeds
from infalign.records.config import Config
from infalign.records.sweep import policies
from infalign.studies.seeds.claims import EverySeed
from infalign.study import Study

MATCHED_KL = 0.5  # nats, at which series are compared
CAPTION = (
    "**Seeds of training.** Win rate of each series less that of PPO on the raw reward at KL {kl:g}, paired by "
    "prompt. Grey: the policies of one seed by themselves, with the bootstrap interval over prompts. Blue: the "
    "policies of all seeds, averaged at each strength, with the same interval, which takes the policies as given. "
    "Red: the t interval of the mean over the seeds, which takes the prompts as given. Reference, reward model, "
    "judge and samples are those of one seed throughout."
)


def _figures(block: None, config: Config) -> list[FigureEntry]:
    if not any(several_seeds(policies(config), task) for task in config.tasks):
        return []
    draw = "infalign.studies.seeds.figures:draw_seeds"
    return [FigureEntry("seeds", draw, ("seeds",), CAPTION.format(kl=MATCHED_KL))]


STUDY = Study("seeds", figures=_figures, claims=(EverySeed,))
