"""The configuration of tasks, policies and their evaluation: one file is one run. Studies add blocks of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from infalign.errors import InputError
from infalign.mathematics.calibration import parse_calibrator
from infalign.mathematics.procedures import parse_procedure
from infalign.mathematics.statistics import Bootstrap
from infalign.mathematics.transforms import parse_transform
from infalign.records.block import B, Block, Count, Positive, parse_block, short_hash, unknown_task
from infalign.records.corpus import HH_SUBSETS, EmbeddedCorpus, PreferenceCorpus
from infalign.records.methods import METHODS, BONDSettings, MethodSettings, PairSettings, Strength
from infalign.records.task import Task


def _parsed(parse: Callable[[str], Any]) -> AfterValidator:
    return AfterValidator(lambda texts: [parse(text).text for text in texts])


class Goal(Block):
    """What a task's main figure shows."""

    procedure: str = Field(description="the procedure its policies are deployed with, e.g. bon(4)")
    transform: str = Field(description="the transform meant for it, e.g. exp(10)")


class PolicyGrid(Block):
    """Policies to train: every combination of the lists."""

    tasks: Annotated[list[str], Field(min_length=1)]
    method: str = Field(description="a name of `methods`")
    reward: Annotated[list[str], Field(min_length=1), _parsed(parse_transform)] | None = Field(
        None, description="raw or a transform, e.g. exp(10); only for methods that maximise a reward"
    )
    calibrator: Annotated[list[str], _parsed(parse_calibrator)] = Field(
        ["empirical"], description="empirical or anchors(p); unused by raw"
    )
    n_rollouts: list[Count] | None = Field(None, description="rollouts used for calibration; default: all")
    ties: Literal["half", "weak", "strict"] = "half"
    kl: list[Positive] | None = Field(None, description="strengths as KL budgets in nats")
    beta: list[Positive] | None = Field(None, description="strengths as the paper's beta")
    n: list[int] | None = Field(None, description="strengths as the n of best-of-n; 1 is the reference itself")
    seeds: Annotated[list[int], Field(min_length=1)] = Field([0])

    @model_validator(mode="after")
    def _one_strength(self) -> PolicyGrid:
        if sum(strengths is not None for strengths in (self.kl, self.beta, self.n)) != 1:
            raise ValueError("give the strengths as one of kl: [...], beta: [...], n: [...]")
        return self

    @property
    def strength_kind(self) -> Strength:
        return "kl" if self.kl is not None else "beta" if self.beta is not None else "n"

    @property
    def strengths(self) -> list[float]:
        return list(self.kl or self.beta or self.n or [])

    @field_validator("n")
    @classmethod
    def _n_counts(cls, counts: list[int] | None) -> list[int] | None:
        bad = [n for n in counts or [] if n < 1]
        if bad:
            raise ValueError(f"best-of-n needs n >= 1 (1 is the reference itself); remove {bad[0]}")
        return counts


class Evaluation(Block):
    """What is computed from the samples; nothing here costs a model call."""

    n: Annotated[list[Count], Field(min_length=1)] = Field([2, 4, 32], description="N of best-of-N and worst-of-N")
    procedures: list[str] = Field([], description="further procedures, e.g. sbon(4, 5.0) or bop(3.5)")
    select: list[Literal["reward", "judge"]] = Field(["reward", "judge"])
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    resamples: Count = 2000
    seed: int = 0

    @property
    def bootstrap(self) -> Bootstrap:
        """How its intervals are made."""
        return Bootstrap(self.level, self.resamples, self.seed)

    @field_validator("procedures")
    @classmethod
    def _procedures_parse(cls, texts: list[str]) -> list[str]:
        procedures = [parse_procedure(text) for text in texts]
        for procedure in procedures:
            _ = procedure.min_samples  # an InputError where samples cannot measure it
        return [procedure.text for procedure in procedures]


class Theory(Block):
    """Frontiers drawn without training."""

    transforms: Annotated[list[str], _parsed(parse_transform)] = Field(
        ["identity", "log", "exp(5)", "exp(10)", "exp(-5)", "exp(-10)"]
    )
    kl: list[Positive] = Field([0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0])


class Config(Block):
    """One run."""

    run: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] = Field(description="name of results/<run>")
    data_root: str | None = Field(None, description="local folder of the real data")
    tasks: Annotated[dict[Annotated[str, Field(pattern=r"^[a-z0-9_]+$")], Task], Field(min_length=1)]
    goals: dict[str, Goal]
    methods: dict[Annotated[str, Field(pattern=r"^[a-z0-9_]+$")], MethodSettings] = Field(
        {}, description="settings of each method; a name of one's own says its `kind`"
    )
    policies: Annotated[list[PolicyGrid], Field(min_length=1)]
    evaluation: Evaluation = Evaluation()
    theory: Theory = Theory()

    @property
    def trained_goals(self) -> dict[str, Goal]:
        """Goals of the tasks that policies are trained for, in the order of `goals`; others are studied only."""
        trained = {task for grid in self.policies for task in grid.tasks}
        return {task: goal for task, goal in self.goals.items() if task in trained}

    @model_validator(mode="before")
    @classmethod
    def _methods_are_complete(cls, values: Any) -> Any:
        """A method's kind is its name unless it says otherwise; one that is not configured has its defaults."""
        methods = values.get("methods", {}) if isinstance(values, dict) else None
        grids = values.get("policies", []) if isinstance(values, dict) else None
        if not isinstance(methods, dict) or not isinstance(grids, list):
            return values
        named = [grid.get("method") for grid in grids if isinstance(grid, dict)]
        blocks = {**{name: {} for name in named if name in METHODS}, **methods}
        return {
            **values,
            "methods": {
                name: {"kind": name, **block} if isinstance(block, dict) else block for name, block in blocks.items()
            },
        }

    @model_validator(mode="after")
    def _names_match(self) -> Config:
        problems = []
        for i, grid in enumerate(self.policies):
            unknown = [unknown_task(name, self.tasks) for name in grid.tasks if name not in self.tasks]
            problems += [f"policies.{i}.tasks: {problem}" for problem in unknown]
            problems += [f"policies.{i}: {problem}" for problem in self._method_problems(grid)]
        if set(self.goals) != set(self.tasks):
            problems.append(f"goals: one per task, got {sorted(self.goals)} for tasks {sorted(self.tasks)}")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _method_problems(self, grid: PolicyGrid) -> list[str]:
        settings = self.methods.get(grid.method)
        if settings is None:
            names = ", ".join(dict.fromkeys([*self.methods, *METHODS]))
            return [f"unknown method {grid.method!r}; the methods are {names}"]
        problems = []
        if grid.strength_kind not in settings.strengths:
            kinds = " or ".join(settings.strengths)
            problems.append(f"{grid.method} takes its strengths as {kinds}, got {grid.strength_kind}")
        if settings.takes_reward and grid.reward is None:
            problems.append(f"{grid.method} needs a reward, e.g. reward: [raw, identity, exp(10)]")
        if not settings.takes_reward and grid.reward is not None:
            problems.append(f"{grid.method} takes no reward, the method itself says what it asks for; remove it")
        return problems + self._pair_problems(grid, settings) + self._best_of_problems(grid, settings)

    def _pair_problems(self, grid: PolicyGrid, settings: MethodSettings) -> list[str]:
        """Pairs of the dataset are asked for where it has none."""
        if not isinstance(settings, PairSettings) or settings.pairs == "rollouts":
            return []
        return [
            f"methods.{grid.method}.pairs: dataset, but the corpus of task {name} has no pairs; use pairs: rollouts"
            for name in grid.tasks
            if name in self.tasks and self.tasks[name].corpus.teaches != "preferences"
        ]

    def _best_of_problems(self, grid: PolicyGrid, settings: MethodSettings) -> list[str]:
        """What of n the method cannot do: more than there are rollouts, or not a whole number of stages."""
        problems = []
        most = max(grid.n or [1])
        for name in grid.tasks:
            available = self.tasks[name].rollouts.n_rollouts if name in self.tasks else most
            if settings.kind in ("bon_sft", "bonbon") and most > available:
                problems.append(
                    f"{grid.method} takes the best of n rollouts, so n must be at most {available} "
                    f"(tasks.{name}.rollouts.n_rollouts), got {most}"
                )
        if isinstance(settings, BONDSettings):
            powers = {settings.n_each**stages for stages in range(64)}
            problems += [
                f"{grid.method} distils best-of-{settings.n_each} stage by stage, so n must be a power of "
                f"{settings.n_each}, got {n}; change n or methods.{grid.method}.n_each"
                for n in grid.n or []
                if n not in powers
            ]
        return problems

    @model_validator(mode="after")
    def _samples_suffice(self) -> Config:
        for name, task in self.tasks.items():
            available = min(task.samples.n_samples, task.rollouts.n_rollouts)
            if max(self.evaluation.n) > available:
                raise ValueError(
                    f"evaluation.n must be at most {available}, the responses per prompt of task {name}, "
                    f"got {max(self.evaluation.n)}; raise tasks.{name}.samples.n_samples or remove it"
                )
            for grid in self.policies:
                used = max(grid.n_rollouts or [1])
                if name in grid.tasks and used > task.rollouts.n_rollouts:
                    raise ValueError(
                        f"policies.n_rollouts must be at most {task.rollouts.n_rollouts} "
                        f"(tasks.{name}.rollouts.n_rollouts), got {used}"
                    )
        return self


def read_config(path: str | Path) -> Config:
    """Read what a run recorded of its configuration, without the blocks of its studies."""
    values = _recorded(path)
    core = {name: value for name, value in values.items() if name in Config.model_fields}
    return parse_block(Config, json.dumps(core))


def read_study_block(path: str | Path, name: str, kind: type[B]) -> B:
    """Read the block of a study from what a run recorded; InputError if the run has none."""
    value = _recorded(path).get(name)
    if not value:
        raise InputError(f"{path}: no block {name}; add it to the configuration")
    return parse_block(kind, json.dumps(value))


def _recorded(path: str | Path) -> dict[str, Any]:
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; give the config.json of a run")
    return json.loads(Path(path).read_text(encoding="utf-8"))


def shared_json(task: Task) -> str:
    """Write a task without `samples`: all that its data, models and training rollouts depend on."""
    return json.dumps(task.model_dump(mode="json", exclude={"samples"}), sort_keys=True)


def task_folder(config: Config, task: str) -> str:
    """Folder of a task's shared results, below `results/tasks/`: its name and its block's hash."""
    block = config.tasks[task]
    reads_data = config.data_root and block.corpus.source != "embedded"
    root = str(Path(config.data_root or "").resolve()) if reads_data else None
    return f"{task}-{short_hash(shared_json(block), root)}"


def check_data(config: Config) -> None:
    """Raise InputError naming all real data that a run needs and does not find."""
    problems = [problem for name in config.tasks if (problem := _missing_data(config, name))]
    if problems:
        raise InputError("; ".join(problems))


def _missing_data(config: Config, name: str) -> str | None:
    corpus = config.tasks[name].corpus
    if isinstance(corpus, EmbeddedCorpus):
        return None
    if config.data_root is None:
        if not isinstance(corpus, PreferenceCorpus) or corpus.hub:
            return None
        return (
            f"data_root: task {name} reads {corpus.name}, which is not on the hub (it has {', '.join(HH_SUBSETS)}); "
            "give the folder that holds it: --config data_root=DIR"
        )
    absent = [pattern for pattern in corpus.files if not list(Path(config.data_root).glob(pattern))]
    if not absent:
        return None
    return (
        f"data_root: task {name} needs files {', '.join(f'{config.data_root}/{pattern}' for pattern in absent)}, "
        "there are none; give the folder that holds them, or leave data_root out to read the hub"
    )
