"""Judges of several sizes, and one that learnt from the reward model's own pairs."""

from __future__ import annotations

from infalign.presentation.figure import FigureEntry
from infalign.records.config import Config
from infalign.records.responses import ModelTraining, shared
from infalign.studies.judge_strength.block import JudgeStrength, judge_strength_problems
from infalign.studies.judge_strength.claims import JudgedDifference, JudgeExcess
from infalign.studies.judge_strength.sizes import check_judges, judge_folder, sized_judges
from infalign.studies.judge_strength.tables import MATCHED_KL
from infalign.study import Study

CAPTION = (
    "**Judges of several sizes.** Left: win rate of the goal's transform less that of the raw reward at KL {kl:g}, in "
    "points, decided by judges of several sizes that learnt from pairs of their own (blue), by one that learnt "
    "from the reward model's pairs (red), by the reward model itself (black) and by the gold reward (green line, "
    "its interval shaded). Right: the policies on the raw reward, win rate by each judge less that by gold. Where "
    "there is no gold, it is less that by the independent judge of the reward model's size. What policies gain by "
    "fitting the reward model's errors shows as a rise for a judge that shares them. The procedure selects by the "
    "reward model. Bars are 95 % bootstrap intervals over prompts, paired."
)


def _trainings(block: JudgeStrength, config: Config) -> dict[str, ModelTraining]:
    return {
        shared(config, task, f"judges/{judge_folder(name, judge)}"): ModelTraining(task, judge.settings, judge.split)
        for task in block.tasks
        for name, judge in sized_judges(block, config, task).items()
    }


def _figures(block: JudgeStrength, config: Config) -> list[FigureEntry]:
    draw = "infalign.studies.judge_strength.figures:draw_judge_strength"
    read = ("judge_strength", "judge_policies")
    return [FigureEntry("judge_strength", draw, read, CAPTION.format(kl=MATCHED_KL))]


STUDY = Study(
    "judge_strength",
    kind=JudgeStrength | None,
    description="default: not run",
    problems=lambda block, config: judge_strength_problems(block, config.tasks),
    check=check_judges,
    trainings=_trainings,
    figures=_figures,
    claims=(JudgedDifference, JudgeExcess),
)
