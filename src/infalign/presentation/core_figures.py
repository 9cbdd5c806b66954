"""The figures that every run can have: which of them it has, what draws them, and their captions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from infalign.mathematics.procedures import parse_procedure
from infalign.presentation.figure import FigureEntry
from infalign.records.config import Config
from infalign.records.corpus import GOLD_SOURCES
from infalign.records.methods import VBoNSettings
from infalign.records.responses import shared
from infalign.records.sweep import policies, with_varied_rollouts

DRAW = "infalign.presentation"
MATCHED_KL = 0.5  # nats, of the figure of methods at one KL

READING = (
    "Dotted black: the limit, the optimal transform of an exact reward in the continuous model (theorem 3 and "
    "corollary 2). Thin lines: the offline frontier, the exact tilt of the scored reference rollouts by each "
    "reward, in that reward's colour. Markers: trained policies with 95 % intervals over prompts in both "
    "directions. Hollow markers are calibrated by anchors instead of the empirical distribution. {selection} "
    "The winner is decided by the judge. Ties count one half."
)
SELECTION = {
    "reward": "The procedure selects by the reward model, which is what a deployer has.",
    "judge": "Here the procedure selects by the judge's own score, as the paper's caption says.",
}
TITLES = {
    "standard": "Standard win rate against the reference policy",
    "inference_time": "Inference-time win rate: both policies go through the same procedure",
    "scaling": "Inference-time win rate with little and with much compute",
}
WIN_RATE_CAPTIONS = {
    "standard": "**Standard win rate** (InfAlign, figure 3). No inference-time procedure: one response of the policy "
    "against one of the reference policy.",
    "inference_time": "**Inference-time win rate** (InfAlign, figure 4). Policy and reference both go through the "
    "procedure that the task is meant for, with the same N.",
    "scaling": "**Little and much inference-time compute** (InfAlign, appendix, N = 2 and 32). The policies are those "
    "of the other figures. Only the procedure's N changes. It is computed exactly over all subsets of the same "
    "samples. Where N is above a tenth of the rollouts (N = 32 of 100) the offline frontier is biased towards one "
    "half, since its draws repeat. The trained points are not.",
}
CAPTIONS = {
    "transforms": "**Ideal frontiers** (InfAlign, figure 1). Win rate against the reference policy after each "
    "procedure, and KL divergence, of the KL-regularised optimum for each transform of the calibrated reward. Both "
    "are computed by quadrature for the continuous model of theorem 3. No language model is involved. The dotted "
    "black curve is the optimal transform of that panel's procedure (corollary 2; without a procedure it is the "
    "identity).",
    "calibration": "**Calibration of the reward model, task {task}** (InfAlign, figure 2). Left: the sigmoid of the "
    "reward less the mean reward of all prompts, against the response's rank among its prompt's rollouts. A "
    "calibrated score lies on the diagonal. Right: distribution of the absolute error between mapped score and rank "
    "over all prompts. The quantile map is measured out of sample: half of each prompt's rollouts make the table, "
    "and the other half are measured against their own ranks. The fixed maps are measured on all rollouts.",
    "methods": "**Every method.** Win rate against KL of every trained policy, without an inference-time procedure "
    "and with the one of each task's goal. Grey stair: the Pareto front of all policies, what is reached at no "
    "more than each KL. Policies off the front are faded. A thin line joins those of one series. Dotted black: the "
    "limit. Colours are those of the rewards, or of the method where it takes none. Markers are the methods'. "
    "Hollow ones are calibrated by anchors, or are a method's variant. The procedure selects by the reward model. "
    "The winner is decided by the judge.",
    "matched_kl": "**Methods at matched KL.** Win rate at KL {kl:g} less that of CTRL (PPO on the goal's transform of "
    "the calibrated reward; on the identity without a procedure), in points, paired by prompt, with bootstrap "
    "intervals that carry the error of the KL. Left of the line CTRL is better. A series that has no policies on "
    "both sides of the KL is not compared. Its own KLs stand instead.",
    "overview": "**Share of the attainable gain.** Each marker is a policy: its win rate over one half, scored by the "
    "reward that it was trained on, as a share of the gain that the ideal frontier of its transform has at the "
    "policy's own KL. Policies on the raw reward have no ideal frontier. Below KL 0.1 the share is not defined.",
    "gold": "**Judge and gold.** The comparisons behind the claims, once with the winner decided by the trained judge "
    "and once by the corpus's own gold reward, which no model was trained on. An asterisk marks a row where the two "
    "disagree in verdict.",
    "front": "**Win rate and mean reward against KL, task {task}** (variational best-of-N, figures 2 and 7). One "
    "response of each policy, no procedure. Black: best-of-n of the reference's own rollouts, picked by the reward "
    "model. This is what vBoN learns to do in one draw. Its win rate and reward are unbiased estimates from the "
    "scored rollouts. Its KL is the formula log n − (n − 1)/n, an upper bound. Policies that another of their own "
    "series dominates are faded. The percentages are the shares of each series in the front of all series together, "
    "first by win rate, then by mean reward. A series with more policies has more chances. The winner is decided by "
    "the judge, the reward is the reward model's.",
    "bound": "**vBoN's objective and its lower bound, task {task}** (variational best-of-N, figure 6). Policies "
    "trained to the logarithm of the best-of-N probability itself, and to the bound L, (N − 1)·log F less the KL. "
    "They are drawn as in the figures of all methods. The shares are of the front of these two.",
    "cost": "**What rollouts bring and cost, task {task}** (variational best-of-N, figure 4). Mean reward and win "
    "rate of vBoN against the number M of reference rollouts a prompt from which F is estimated, mean and standard "
    "deviation over seeds, no procedure. Above: the measured seconds of sampling and scoring the rollouts of the "
    "training prompts, in proportion to M. They hold the loading of the models and what else ran on the machine.",
}


def goal_panels(config: Config) -> list[tuple[str, str]]:
    """List the trained tasks, each with the procedure of its goal."""
    return [(task, goal.procedure) for task, goal in config.trained_goals.items()]


def comparison_panels(config: Config) -> list[tuple[str, str]]:
    """List the trained tasks, each without a procedure and with that of its goal."""
    panels = [(task, text) for task, procedure in goal_panels(config) for text in ("none", procedure)]
    return list(dict.fromkeys(panels))


def core_figures(config: Config) -> Iterator[FigureEntry]:
    """Yield the figures of a run that belong to no study."""
    yield _entry("transforms", "win_rates:draw_transforms", "ideal")
    for task in config.tasks:
        scores = shared(config, task, "scores/train.parquet")
        yield _entry("calibration", "miscalibration:draw_calibration", task=task, shared_files=(scores,))
    yield from _win_rate_figures(config)
    panels = comparison_panels(config)
    yield _entry("methods", "comparison:draw_methods", "metrics", "ideal", panels=panels)
    yield _entry("matched_kl", "comparison:draw_matched_kl", "methods", panels=panels, kl=MATCHED_KL)
    yield _entry("overview", "overview:draw_overview", "metrics", panels=goal_panels(config))
    if any(task.corpus.source in GOLD_SOURCES for task in config.tasks.values()):
        yield _entry("gold", "overview:draw_gold", "gold")
    for task in config.tasks:
        yield from _method_figures(config, task)


def _entry(kind: str, draw: str, *tables: str, shared_files: tuple[str, ...] = (), **options: Any) -> FigureEntry:
    """Name a figure after its kind and, where it is of one task, its task."""
    name = f"{kind}_{options['task']}" if "task" in options else kind
    caption = CAPTIONS[kind].format(**options)
    return FigureEntry(name, f"{DRAW}.{draw}", tables, caption, options, shared_files)


def _win_rate_figures(config: Config) -> Iterator[FigureEntry]:
    """Each with the reward as selector, and with the judge where a procedure selects."""
    goals = goal_panels(config)
    sizes = min(config.evaluation.n), max(config.evaluation.n)
    panels = {
        "standard": [(task, "none") for task, _ in goals],
        "inference_time": goals,
        "scaling": [(task, f"{parse_procedure(text).name}({n})") for task, text in goals for n in sizes],
    }
    for kind, text in WIN_RATE_CAPTIONS.items():
        for select in ("reward",) if kind == "standard" else ("reward", "judge"):
            name = kind if select == "reward" else f"{kind}_by_judge"
            options = {"panels": panels[kind], "select": select, "title": TITLES[kind]}
            caption = f"{text} {READING.format(selection=SELECTION[select])}"
            tables = ("metrics", "offline", "ideal")
            yield FigureEntry(name, f"{DRAW}.win_rates:draw_win_rates", tables, caption, options)


def _method_figures(config: Config, task: str) -> Iterator[FigureEntry]:
    """Fronts where a task has several methods or objectives, and the cost of rollouts where their number varies."""
    trained = {policy.method for policy in policies(config) if policy.task == task}
    draw, tables = "comparison:draw_front", ("metrics", "best_of_n")
    if len(trained) > 1:
        yield _entry("front", draw, *tables, task=task, title="Win rate and mean reward against KL")
    forms = {name: block for name, block in config.methods.items() if isinstance(block, VBoNSettings)}
    if len({block.objective for name, block in forms.items() if name in trained}) > 1:
        title = "vBoN's objective and its lower bound"
        yield _entry("bound", draw, *tables, task=task, methods=list(forms), title=title)
    varied = [policy.slug for policy in with_varied_rollouts(policies(config), task)]
    if varied:
        seconds = tuple(shared(config, task, f"{part}/train.seconds.tsv") for part in ("rollouts", "scores"))
        draw = "rollout_cost:draw_rollout_cost"
        yield _entry("cost", draw, "metrics", task=task, names=varied, shared_files=seconds)
