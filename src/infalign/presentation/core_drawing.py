"""How the figures of every run are drawn from its tables."""

from __future__ import annotations

from matplotlib.figure import Figure

from infalign.mathematics.procedures import parse_procedure
from infalign.presentation import comparison, miscalibration, overview, variational, win_rates
from infalign.records.config import Config
from infalign.records.methods import VBoNSettings
from infalign.records.run_tables import RunTables
from infalign.records.sweep import policies, with_varied_rollouts


def draw_transforms(tables: RunTables) -> Figure:
    return win_rates.figure_transforms(tables["ideal"])


def draw_calibration(tables: RunTables, *, task: str) -> Figure:
    return miscalibration.figure_calibration(tables.scores(task), task=task)


def draw_standard(tables: RunTables, *, select: str) -> Figure:
    panels = [(task, "none") for task in tables.config.trained_goals]
    title = "Standard win rate against the reference policy"
    return _win_rates(tables, panels, select, title, columns=min(2, len(panels)))


def draw_inference_time(tables: RunTables, *, select: str) -> Figure:
    panels = _goals(tables.config)
    title = "Inference-time win rate: both policies go through the same procedure"
    return _win_rates(tables, panels, select, title, columns=min(2, len(panels)))


def draw_scaling(tables: RunTables, *, select: str) -> Figure:
    sizes = min(tables.config.evaluation.n), max(tables.config.evaluation.n)
    names = [(task, parse_procedure(procedure).name) for task, procedure in _goals(tables.config)]
    panels = [(task, f"{name}({n})") for task, name in names for n in sizes]
    title = "Inference-time win rate with little and with much compute"
    return _win_rates(tables, panels, select, title, columns=2)


def draw_methods(tables: RunTables) -> Figure:
    return comparison.figure_methods(tables.main("metrics"), tables["ideal"], _all_panels(tables.config))


def draw_matched_kl(tables: RunTables, *, kl: float) -> Figure:
    return comparison.figure_matched_kl(tables["methods"], _all_panels(tables.config), kl=kl)


def draw_overview(tables: RunTables) -> Figure:
    return overview.figure_overview(tables.main("metrics"), _goals(tables.config))


def draw_gold(tables: RunTables) -> Figure:
    return overview.figure_gold(tables.read("gold", may_be_empty=True))


def draw_front(tables: RunTables, *, task: str) -> Figure:
    return comparison.figure_front(tables.main("metrics"), tables.main("best_of_n"), task)


def draw_bound(tables: RunTables, *, task: str) -> Figure:
    methods = tables.config.methods.items()
    forms = [name for name, settings in methods if isinstance(settings, VBoNSettings)]
    title = "vBoN's objective and its lower bound"
    metrics, best_of_n = tables.main("metrics"), tables.main("best_of_n")
    return comparison.figure_front(metrics, best_of_n, task, methods=forms, title=title)


def draw_cost(tables: RunTables, *, task: str) -> Figure:
    names = [policy.slug for policy in with_varied_rollouts(policies(tables.config), task)]
    return variational.figure_cost(tables.main("metrics"), names, task, tables.rollout_seconds(task))


def _win_rates(
    tables: RunTables, panels: list[tuple[str, str]], select: str, title: str, columns: int
) -> Figure:
    return win_rates.figure_win_rates(
        tables.main("metrics"),
        tables["offline"],
        tables["ideal"],
        panels,
        select=select,
        title=title,
        columns=columns,
    )


def _goals(config: Config) -> list[tuple[str, str]]:
    return [(task, goal.procedure) for task, goal in config.trained_goals.items()]


def _all_panels(config: Config) -> list[tuple[str, str]]:
    """Each task without a procedure and with that of its goal."""
    panels = [(task, text) for task, procedure in _goals(config) for text in ("none", procedure)]
    return list(dict.fromkeys(panels))
