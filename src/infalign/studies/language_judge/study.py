"""A language model behind a server as a further judge of the policies' responses."""

from __future__ import annotations

from infalign.presentation.figure import FigureEntry
from infalign.records.config import Config
from infalign.studies.language_judge.block import LanguageJudge, judge_problems
from infalign.studies.language_judge.claims import JudgeKappa, PromptedDifference
from infalign.studies.language_judge.pairs import judged_policies
from infalign.study import Study

DRAW = "infalign.studies.language_judge.figures"
ASKED = {
    True: "which of two responses is better, and that learnt to answer from the judge's pairs in this run",
    False: "without examples, which of two responses is better",
}
JUDGE_CAPTION = (
    "**A language model as judge** (InfAlign, appendix on the zero-shot prompt). Win rate against KL with the winner "
    "decided by a language model that is asked {asked}. Policy and reference both go through the procedure, which "
    "selects by the reward model, on groups of samples of their own. Each pair is shown in both orders. A pair counts "
    "if both replies could be read. The title says how many could not. Bars are 95 % intervals over the prompts that "
    "are left, in both directions. Dotted black: the limit of an exact reward."
)
AGREEMENT_CAPTION = (
    "**Agreement of the judges.** A language model, the trained judge and, where there is one, the gold reward on the "
    "same pairs of responses. Left: Cohen's kappa of their verdicts (win, tie, loss), all policies together, with "
    "95 % bootstrap intervals over prompts. The language model's verdict is a tie where its two orders contradict one "
    "another, so a preference for a place lowers it. Right: each policy's win rate by the language model against that "
    "by the other judges. On the dotted line they are equal."
)


def _figures(block: LanguageJudge, config: Config) -> list[FigureEntry]:
    read = ("language_judge_metrics", "ideal", "verdicts")
    caption = JUDGE_CAPTION.format(asked=ASKED[block.trained is not None])
    return [
        FigureEntry("language_model_judge", f"{DRAW}:draw_language_model_judge", read, caption),
        FigureEntry("judge_agreement", f"{DRAW}:draw_judge_agreement", ("agreement",), AGREEMENT_CAPTION),
    ]


STUDY = Study(
    "language_judge",
    kind=LanguageJudge | None,
    key="judge",
    description="default: no language model is asked",
    problems=lambda block, config: judge_problems(block, config.tasks, config.goals),
    check=judged_policies,
    figures=_figures,
    claims=(PromptedDifference, JudgeKappa),
)
