"""How well few rollouts estimate the distribution of the reward."""

from __future__ import annotations

from infalign.presentation.figure import FigureEntry
from infalign.records.config import Config
from infalign.records.responses import ResponseSet, ScoreSet, reference_responses, reward_and_judge
from infalign.studies.estimation.block import Estimation, estimation_problems, estimation_sampling
from infalign.studies.estimation.claims import RejectionRate
from infalign.study import Study

CAPTIONS = {
    "estimation": "**How many rollouts estimate F** (variational best-of-N, table 1). Share of the prompts for "
    "which a two-sample Kolmogorov–Smirnov test tells M rollouts from many more, with 95 % Wilson intervals. "
    "Nested: the M are among the many. The two samples then share rollouts, which the test does not know. It must "
    "reject less the larger M is, whatever the rewards are. Independent: the M are others, and the test rejects at "
    "its level at most, at every M. Crosses: the paper's numbers. It does not say which samples it compared. Its "
    "decline is that of nested samples, and says little on whether M rollouts suffice. Dotted: the level.",
    "log_distribution": "**Estimates of log F** (variational best-of-N, figure 3). For the prompts of the lowest "
    "(adversarial), the median (neutral) and the highest mean reward (positive): log of (1 + rollouts below a "
    "reward)/(1 + M), as vBoN counts it, from the first M rollouts. Dashed: the least-squares curve −a·exp(−b·reward) "
    "through the estimates from the most rollouts. Prompts whose rewards are all equal are passed over.",
}


def _responses(block: Estimation, config: Config) -> dict[str, ResponseSet]:
    sampling = estimation_sampling(config.tasks[block.task], block)
    which = {"split": "evaluation", "n_prompts": block.n_prompts}
    key = f"{config.run}/estimation/samples"
    return {key: reference_responses(config, block.task, sampling, "estimation", **which)}


def _scores(block: Estimation, config: Config) -> dict[str, ScoreSet]:
    folder = f"{config.run}/estimation"
    return {f"{folder}/scores": reward_and_judge(config, block.task, f"{folder}/samples")}


def _figures(block: Estimation, config: Config) -> list[FigureEntry]:
    return [
        FigureEntry(name, f"infalign.studies.estimation.figures:draw_{name}", (name,), caption)
        for name, caption in CAPTIONS.items()
    ]


STUDY = Study(
    "estimation",
    kind=Estimation | None,
    description="default: not measured",
    problems=lambda block, config: estimation_problems(block, config.tasks),
    responses=_responses,
    scores=_scores,
    figures=_figures,
    claims=(RejectionRate,),
)
