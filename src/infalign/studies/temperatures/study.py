"""Sampling temperatures at evaluation, in and out of distribution."""

from __future__ import annotations

from infalign.presentation.figure import FigureEntry
from infalign.records.comparisons import several_temperatures
from infalign.records.config import Config
from infalign.records.sweep import conditions, policies
from infalign.studies.temperatures.claims import TemperatureDifference, TemperatureDrop
from infalign.study import Study

DRAW = "infalign.studies.temperatures.figures"
CAPTIONS = {
    "temperatures": "**Sampling temperatures** (variational best-of-N, figure 5). Win rate against the reference "
    "sampled at the same temperature, one response each, and mean judge score, of the policies that were trained "
    "from the most seeds: mean and standard deviation over seeds. Solid: prompts in distribution. Dashed: prompts "
    "out of distribution, of communities that no policy was trained on. Black: best-of-N of the reference's own "
    "responses, N being that of the best-of-n policies. Grey: the reference.",
    "temperature_leads": "**The temperature at evaluation.** Win rate of each series less that of PPO on the raw "
    "reward at one KL, in points, paired by prompt. Policy and reference are both sampled at the temperature on "
    "the axis. The KL is that at this temperature too: the middle of those that all series reach at every "
    "temperature. The policies are the same at all of them and were trained at that of the rollouts. The procedure "
    "selects by the reward model. The winner is decided by the judge. Bars are 95 % bootstrap intervals over prompts.",
}


def _figures(block: None, config: Config) -> list[FigureEntry]:
    entries = []
    if any(len(conditions(task)) > 1 for task in config.tasks.values()):
        draw, caption = f"{DRAW}:draw_temperatures", CAPTIONS["temperatures"]
        entries.append(FigureEntry("temperatures", draw, ("metrics", "best_of_n"), caption))
    if any(several_temperatures(config, policies(config), task) for task in config.tasks):
        draw, caption = f"{DRAW}:draw_temperature_leads", CAPTIONS["temperature_leads"]
        entries.append(FigureEntry("temperature_leads", draw, ("temperature_leads",), caption))
    return entries


STUDY = Study("temperatures", figures=_figures, claims=(TemperatureDifference, TemperatureDrop))
