"""Calibration from few rollouts and with few anchors, measured on further responses of the reference."""

from __future__ import annotations

from infalign.presentation.figure import FigureEntry
from infalign.records.config import Config
from infalign.records.responses import ResponseSet, ScoreSet, reference_responses, reward_and_judge
from infalign.records.sweep import conditions
from infalign.studies.calibration.block import Calibration, calibration_problems, calibration_sampling
from infalign.studies.calibration.claims import CalibrationDifference, CalibrationSaturation
from infalign.study import Study

READ = ("calibration_error", "prompt_calibration_error", "calibration_frontier", "metrics")
CAPTIONS = {
    "rollouts": "**Calibration from few rollouts, task {task}** (InfAlign, appendix on anchor points, figure (a)). "
    "The reward is calibrated by the median of n rollouts of the prompt (anchors(1)), by its rank among all of them "
    "(dashed), or not at all (grey). Left: distribution of the absolute error between calibrated reward and rank, "
    "with its mean. Right: win rate against KL at the task's goal. Lines are the offline frontier, the exact tilt "
    "by the calibrated reward. Markers are the trained policies with 95 % intervals of both over prompts. Errors and "
    "lines are measured on other responses than those that calibrate. For small n both are averaged over disjoint "
    "sets of n rollouts, while a policy is trained with the first n. The procedure selects by the reward model. The "
    "winner is decided by the judge.",
    "anchors": "**Calibration with few anchors, task {task}** (InfAlign, appendix on anchor points, figure (b)). "
    "The same as in the figure of few rollouts, for calibration curves through p anchors at the prompt's quantiles "
    "i/(p + 1), from all rollouts. One anchor is the median calibration. Dashed: the rank itself. Grey: the "
    "uncalibrated reward.",
}


def _responses(block: Calibration, config: Config) -> dict[str, ResponseSet]:
    return {
        f"{config.run}/calibration/{name}/samples": reference_responses(
            config, name, calibration_sampling(task, block), "calibration", split=conditions(task)[0].split
        )
        for name, task in config.tasks.items()
    }


def _scores(block: Calibration, config: Config) -> dict[str, ScoreSet]:
    folders = {name: f"{config.run}/calibration/{name}" for name in config.tasks}
    return {f"{folder}/scores": reward_and_judge(config, name, f"{folder}/samples") for name, folder in folders.items()}


def _figures(block: Calibration, config: Config) -> list[FigureEntry]:
    return [
        FigureEntry(
            f"calibration_{varied}_{task}",
            "infalign.studies.calibration.figures:draw_calibration_quality",
            READ,
            caption.format(task=task),
            {"varied": varied, "task": task},
        )
        for varied, caption in CAPTIONS.items()
        for task in config.tasks
    ]


STUDY = Study(
    "calibration",
    kind=Calibration | None,
    description="calibration from few rollouts and few anchors; default: not measured",
    problems=lambda block, config: calibration_problems(block, config.tasks, config.goals),
    responses=_responses,
    scores=_scores,
    figures=_figures,
    claims=(CalibrationDifference, CalibrationSaturation),
)
