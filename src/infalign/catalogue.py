"""Everything that a run can hold: the studies, and with them its configuration, figures, claims and models.

A new study is a folder in `infalign.studies`, its file in `workflow/rules/studies/`, and its place in STUDIES.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, create_model, model_validator

from infalign.errors import InputError
from infalign.presentation.core_claims import CORE_CLAIMS
from infalign.presentation.core_figures import core_figures
from infalign.presentation.figure import FigureEntry
from infalign.presentation.measures.base import ClaimKind
from infalign.records.block import validation_problems
from infalign.records.config import Config
from infalign.records.disk import needed_bytes
from infalign.records.policy import Policy
from infalign.records.responses import (
    ModelTraining,
    ResponseSet,
    ScoreSet,
    model_trainings,
    response_sets,
    score_sets,
)
from infalign.studies.bounds.study import STUDY as BOUNDS
from infalign.studies.calibration.study import STUDY as CALIBRATION
from infalign.studies.costs.study import STUDY as COSTS
from infalign.studies.estimation.study import STUDY as ESTIMATION
from infalign.studies.exponents.study import STUDY as EXPONENTS
from infalign.studies.hedging.study import STUDY as HEDGING
from infalign.studies.judge_strength.study import STUDY as JUDGE_STRENGTH
from infalign.studies.kl_estimators.study import STUDY as KL_ESTIMATORS
from infalign.studies.language_judge.study import STUDY as LANGUAGE_JUDGE
from infalign.studies.multitask.study import STUDY as MULTITASK
from infalign.studies.poisoning.study import STUDY as POISONING
from infalign.studies.seeds.study import STUDY as SEEDS
from infalign.studies.temperatures.study import STUDY as TEMPERATURES
from infalign.study import Study

STUDIES = (
    HEDGING,
    ESTIMATION,
    CALIBRATION,
    POISONING,
    LANGUAGE_JUDGE,
    JUDGE_STRENGTH,
    EXPONENTS,
    KL_ESTIMATORS,
    SEEDS,
    TEMPERATURES,
    MULTITASK,
    BOUNDS,
    COSTS,
)
CLAIM_KINDS: tuple[type[ClaimKind], ...] = (
    *CORE_CLAIMS,
    *chain.from_iterable(study.claims for study in STUDIES),
)


class _WithStudies(Config):
    @model_validator(mode="after")
    def _studies_fit(self) -> _WithStudies:
        problems = [problem for study in running(self) for problem in study.problems(study.block(self), self)]
        if problems:
            raise ValueError("; ".join(problems))
        return self


_BLOCKS: dict[str, Any] = {
    study.key or study.name: (
        study.kind,
        Field(study.default, description=study.description, exclude=not study.recorded or None),
    )
    for study in STUDIES
    if study.kind is not None
}
RunConfig: Any = create_model(
    "RunConfig", __base__=_WithStudies, __doc__="One run: blocks of the core and of the studies.", **_BLOCKS
)


def parse_config(values: dict[str, Any]) -> Any:
    """Check a configuration with the blocks of its studies; an InputError names all errors, each with its place."""
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise validation_problems("the configuration", error) from None


def read_run_config(path: Path) -> Any:
    """Read the whole configuration that a run recorded."""
    return parse_config(json.loads(path.read_text(encoding="utf-8")))


def recorded_json(config: Config) -> str:
    """Write what a run records of its configuration: the core's blocks, and those of the studies that it asks for.

    So a study that a run does not ask for changes nothing of it.
    """
    absent = {study.key or study.name for study in STUDIES if study.kind is not None and not study.runs(config)}
    return config.model_dump_json(exclude=absent)


def check_studies(config: Config) -> None:
    """Raise InputError if a study asks for what the run has not, such as policies to compare."""
    for study in running(config):
        study.check(study.block(config), config)


def running(config: Config) -> list[Study]:
    """List the studies that a run asks for."""
    return [study for study in STUDIES if study.runs(config)]


def all_responses(config: Config, policies: Iterable[Policy]) -> dict[str, ResponseSet]:
    """List the sets of responses of a run, by path below `results/`."""
    sets = response_sets(config, policies)
    for study in running(config):
        sets |= study.responses(study.block(config), config)
    return sets


def all_score_sets(config: Config, policies: Iterable[Policy]) -> dict[str, ScoreSet]:
    """List the scores of a run, by path below `results/`."""
    sets = score_sets(config, policies)
    for study in running(config):
        sets |= study.scores(study.block(config), config)
    return sets


def all_trainings(config: Config) -> dict[str, ModelTraining]:
    """List the reward models and judges of a run, by path below `results/`."""
    trainings = model_trainings(config)
    for study in running(config):
        trainings |= study.trainings(study.block(config), config)
    return trainings


def needed_disk(config: Config, policies: Sequence[Policy], results: str | Path) -> int:
    """Estimate what a run will still write below `results`, in bytes."""
    sets = all_responses(config, policies), all_score_sets(config, policies), all_trainings(config)
    return needed_bytes(config, policies, *sets, results)


def all_figures(config: Config) -> dict[str, FigureEntry]:
    """List the figures of a run by name; an InputError where a task is called like a kind of figure."""
    studied = [study.figures(study.block(config), config) for study in running(config)]
    entries: dict[str, FigureEntry] = {}
    for entry in chain(core_figures(config), *studied):
        if entry.name in entries:
            raise InputError(f"tasks: two figures would be called {entry.name}; rename a task")
        entries[entry.name] = entry
    return entries


def claim_tables(config: Config) -> list[str]:
    """List the tables of a run that its claims are measured on."""
    kinds: Iterable[type[ClaimKind]] = chain(CORE_CLAIMS, *(study.claims for study in running(config)))
    return list(dict.fromkeys(name for kind in kinds for name in kind.reads))
