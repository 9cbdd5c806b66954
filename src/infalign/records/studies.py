"""Optional blocks of the configuration beside its policies: what they ask, and why a run cannot answer it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from infalign.mathematics.procedures import parse_procedure
from infalign.records.block import Block, Count, Positive, Study
from infalign.records.corpus import GOLD_SOURCES
from infalign.records.task import Base, Rollouts, Task, Training

Exponent = Annotated[float, Field(ge=-100, le=100)]


class Goal(Block):
    """What a task's main figure shows."""

    procedure: str = Field(description="the procedure its policies are deployed with, e.g. bon(4)")
    transform: str = Field(description="the transform meant for it, e.g. exp(10)")


def _unknown(name: str, tasks: Iterable[str]) -> str:
    return f"unknown task {name!r}; the tasks are {', '.join(tasks)}"


HedgedMethod = Literal["bon", "sbon", "bop", "tilt"]


class Proxy(Block):
    """A reward to select by: the task's reward model ({}), its block trained on changed pairs, or another model."""

    flipped: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="share of the training pairs whose labels are exchanged"
    )
    n_pairs: Count | None = Field(None, description="training pairs, the first ones; default: all")
    base: Base | None = Field(
        None, description="of a model of its own, with pretraining and training as in a reward_model"
    )
    pretraining: Training | None = None
    training: Training | None = None

    @model_validator(mode="after")
    def _own_settings_are_whole(self) -> Proxy:
        if self.base is None and (self.pretraining or self.training):
            raise ValueError("pretraining and training are of a model of its own; give its base too")
        return self

    @property
    def is_own(self) -> bool:
        """Whether it is the task's reward model, as that stands."""
        return self == Proxy()

    @property
    def changes_pairs(self) -> bool:
        return self.flipped is not None or self.n_pairs is not None


class HedgedPool(Study):
    """Many responses of a task's reference to its evaluation prompts, by which procedures are hedged."""

    task: str
    true_reward: Literal["gold", "judge"] = Field(description="what counts, a column of the scores")
    n_samples: Annotated[int, Field(ge=2)] = Field(1000, description="responses to a prompt")
    n_prompts: Annotated[int, Field(ge=4)] | None = Field(
        None, description="evaluation prompts, the first ones; default: all"
    )
    methods: Annotated[list[HedgedMethod], Field(min_length=1)] = Field(["bon", "sbon", "bop", "tilt"])
    sbon_n: Annotated[list[Count], Field(min_length=1)] = Field([16], description="n of soft best-of-n")
    proxies: Annotated[dict[Annotated[str, Field(pattern=r"^[a-z0-9_]+$")], Proxy], Field(min_length=1)]

    @model_validator(mode="after")
    def _draws_fit(self) -> HedgedPool:
        if "sbon" in self.methods and max(self.sbon_n) > self.n_samples:
            raise ValueError(
                f"sbon_n must be at most n_samples = {self.n_samples}, got {max(self.sbon_n)}; remove it or "
                "raise n_samples"
            )
        return self


def _pool_problems(task: Task, pool: HedgedPool) -> list[str]:
    problems = []
    available = task.corpus.n_evaluation_prompts
    if (pool.n_prompts or available) > available:
        problems.append(
            f"n_prompts must be at most {available} (tasks.{pool.task}.corpus.n_evaluation_prompts), "
            f"got {pool.n_prompts}"
        )
    if pool.n_prompts is None and available < 4:
        problems.append(
            f"n_prompts: half of the prompts choose, the others report, so at least 4 are needed, got {available} "
            f"(tasks.{pool.task}.corpus.n_evaluation_prompts)"
        )
    if pool.true_reward == "gold" and task.corpus.source not in GOLD_SOURCES:
        problems.append(
            f"true_reward: gold, but the corpus of task {pool.task} has no gold reward; use judge"
        )
    if pool.true_reward == "gold" and getattr(task.corpus, "variant", "standard") == "null":
        problems.append(
            f"true_reward: gold, but that of task {pool.task}, variant null, is the same for all responses to a "
            "prompt; use judge"
        )
    return problems + [
        f"proxies.{name}: {problem}"
        for name, proxy in pool.proxies.items()
        for problem in _proxy_problems(task, proxy)
    ]


def _proxy_problems(task: Task, proxy: Proxy) -> list[str]:
    """What keeps a proxy from being trained: its block must do as the task's reward model."""
    values = task.model_dump() | {"reward_model": proxy_block(task, proxy)}
    try:
        block = Task.model_validate(values).reward_model
    except ValidationError as error:
        return [item["msg"].removeprefix("Value error, ") for item in error.errors()]
    if not proxy.changes_pairs:
        return []
    if block.training is None:
        return ["flipped and n_pairs change training pairs, but the model takes no training; give training"]
    if block.learns != "preferences":
        return [
            f"flipped and n_pairs change training pairs, but the model learns {block.learns}; remove them"
        ]
    available = getattr(task.corpus, "n_pairs", None)
    if proxy.n_pairs is not None and available is not None and proxy.n_pairs > available:
        return [f"n_pairs must be at most {available} (corpus.n_pairs), got {proxy.n_pairs}"]
    return []


def proxy_block(task: Task, proxy: Proxy) -> dict[str, Any]:
    """Return the values of the `reward_model` block by which a proxy is trained.

    Parameters
    ----------
    task : whose reward model's block it is, unless the proxy has a base of its own.
    proxy : of one of the task's pools.
    """
    if proxy.base is None:
        return task.reward_model.model_dump()
    return {
        **proxy.model_dump(include={"base", "pretraining", "training"}),
        "learns": task.reward_model.learns,
    }


def pools_problems(pools: Sequence[HedgedPool], tasks: Mapping[str, Task]) -> list[str]:
    """Why the pools of a run cannot be made or scored."""
    names = [pool.task for pool in pools]
    problems = [
        f"hedging: task {name} is listed twice; give all its proxies and methods in one pool"
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    for i, pool in enumerate(pools):
        if pool.task in tasks:
            problems += [f"hedging.{i}.{problem}" for problem in _pool_problems(tasks[pool.task], pool)]
        else:
            problems.append(f"hedging.{i}.task: {_unknown(pool.task, tasks)}")
    return problems


def pool_sampling(task: Task, pool: HedgedPool) -> Rollouts:
    """How the reference is sampled for a pool: as for the rollouts, but oftener."""
    return task.rollouts.model_copy(update={"n_rollouts": pool.n_samples})


class Estimation(Study):
    """How well few rollouts estimate the distribution of the reward (vBoN, section 5.1); defaults of its table 1."""

    task: str
    n_full: Count = Field(600, description="rollouts of the larger sample")
    sizes: Annotated[list[Count], Field(min_length=1)] = Field(
        [5, 20, 100, 200, 250], description="M, the rollouts of the smaller sample"
    )
    level: Annotated[float, Field(gt=0, lt=1)] = Field(0.05, description="of the Kolmogorov-Smirnov tests")
    n_prompts: Count | None = Field(None, description="evaluation prompts used, the first ones; default: all")

    @model_validator(mode="after")
    def _sizes_fit(self) -> Estimation:
        if max(self.sizes) > self.n_full:
            raise ValueError(
                f"sizes must be at most n_full = {self.n_full}, got {max(self.sizes)}; remove it or raise n_full"
            )
        return self

    @property
    def n_rollouts(self) -> int:
        """Rollouts of a prompt: the larger sample, and the largest smaller one apart from it."""
        return self.n_full + max(self.sizes)


def estimation_problems(estimation: Estimation, tasks: Mapping[str, Task]) -> list[str]:
    """Why the estimation error cannot be measured."""
    name, wanted = estimation.task, estimation.n_prompts
    if name not in tasks:
        return [f"estimation.task: {_unknown(name, tasks)}"]
    available = tasks[name].corpus.n_evaluation_prompts
    if wanted is None or wanted <= available:
        return []
    return [
        f"estimation.n_prompts must be at most {available} (tasks.{name}.corpus.n_evaluation_prompts), got {wanted}"
    ]


def estimation_sampling(task: Task, estimation: Estimation) -> Rollouts:
    """How the reference is sampled for the estimation error: as for the rollouts, but oftener."""
    return task.rollouts.model_copy(update={"n_rollouts": estimation.n_rollouts})


class Calibration(Study):
    """Calibration from few rollouts and with few anchors (InfAlign, appendix on anchor points)."""

    rollouts: Annotated[list[Count], Field(min_length=1)] = Field(
        [1, 3, 5, 7, 100], description="n, rollouts whose median calibrates: anchors(1)"
    )
    anchors: Annotated[list[Count], Field(min_length=1)] = Field(
        [1, 2, 5, 10], description="p of anchors(p), from all rollouts"
    )
    n_measured: Annotated[int, Field(ge=2)] = Field(
        100, description="further responses of the reference a prompt, on which all is measured"
    )
    draws: Count = Field(
        4, description="disjoint sets of n rollouts that are averaged, as far as the rollouts suffice"
    )
    kl: Annotated[list[Positive], Field(min_length=1)] = Field(
        [0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0], description="budgets of the frontiers, in nats"
    )


def calibration_problems(
    calibration: Calibration, tasks: Mapping[str, Task], goals: Mapping[str, Goal]
) -> list[str]:
    """Why calibrations cannot be measured on every task."""
    problems, most = [], max(calibration.rollouts)
    for name, task in tasks.items():
        available = task.rollouts.n_rollouts
        if most > available:
            problems.append(
                f"calibration.rollouts must be at most {available} (tasks.{name}.rollouts.n_rollouts), got {most}"
            )
        if name in goals and goals[name].transform == "raw":
            problems.append(
                f"goals.{name}.transform: raw is not calibrated; give a transform or leave calibration out"
            )
    return problems


def calibration_sampling(task: Task, calibration: Calibration) -> Rollouts:
    """How the reference is sampled to measure calibrations: as for the main condition, `n_measured` a prompt."""
    return task.rollouts.model_copy(
        update={"n_rollouts": calibration.n_measured, "temperature": task.samples.temperatures[0]}
    )


# InfAlign, appendix on reward hacking: its phrases, as sentences of their own.
PHRASES = {
    **dict.fromkeys(("helpful", "helpful-base"), "Sure."),
    **dict.fromkeys(("harmless", "harmless-base"), "Sorry, I can't help you with that."),
}


class Poisoning(Study):
    """Reward models trained on pairs in some of which a phrase gives the preferred response away."""

    tasks: Annotated[list[str], Field(min_length=1)]
    rates: Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=1)] = Field(
        [0.0, 0.1, 0.25, 0.5],
        description="share of the training pairs whose preferred response begins with the phrase; the paper "
        "states none",
    )
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = Field(
        [0], description="which pairs are poisoned, the heads and the order of the data"
    )
    phrases: dict[str, Annotated[str, Field(pattern=r"^\S(.*\S)?$")]] = Field(
        {}, description="of each task; default: the paper's for helpfulness and harmlessness"
    )
    n_pairs: Count | None = Field(None, description="training pairs used, the first ones; default: all")
    n_rollouts: Annotated[int, Field(ge=2)] = Field(
        16,
        description="reference responses to each prompt of these pairs, among which rewards are calibrated",
    )


def poisoning_problems(poisoning: Poisoning, tasks: Mapping[str, Task]) -> list[str]:
    """Why reward models cannot be trained on poisoned pairs."""
    problems = [
        problem for name in poisoning.tasks for problem in _poisoned_task_problems(poisoning, name, tasks)
    ]
    return problems + [
        f"poisoning.phrases: {name} is not one of poisoning.tasks; remove it or add the task"
        for name in poisoning.phrases
        if name not in poisoning.tasks
    ]


def _poisoned_task_problems(poisoning: Poisoning, name: str, tasks: Mapping[str, Task]) -> list[str]:
    if name not in tasks:
        return [f"poisoning.tasks: {_unknown(name, tasks)}"]
    task, problems = tasks[name], []
    if task.corpus.teaches != "preferences":
        problems.append(f"poisoning.tasks: the corpus of task {name} has no pairs; remove {name}")
    elif task.reward_model.training is None:
        problems.append(
            f"poisoning.tasks: the reward model of task {name} is taken as it is, none is trained; give "
            f"tasks.{name}.reward_model.training or remove {name}"
        )
    if poisoning_phrase(poisoning, name, task) is None:
        problems.append(
            f"poisoning.phrases: task {name} has none by default (the corpora {', '.join(PHRASES)} have); "
            f"give poisoning.phrases.{name}"
        )
    wanted, available = poisoning.n_pairs, getattr(task.corpus, "n_pairs", None)
    if wanted is not None and available is not None and wanted > available:
        problems.append(
            f"poisoning.n_pairs must be at most {available} (tasks.{name}.corpus.n_pairs), got {wanted}"
        )
    return problems


def poisoning_sampling(task: Task, poisoning: Poisoning) -> Rollouts:
    """How the reference is sampled for the prompts of poisoned pairs: as for the rollouts, but less often."""
    return task.rollouts.model_copy(update={"n_rollouts": poisoning.n_rollouts})


def poisoning_phrase(poisoning: Poisoning, name: str, task: Task) -> str | None:
    """Phrase that poisons a task's pairs: its own, or that of its corpus; None where neither is."""
    return poisoning.phrases.get(name) or PHRASES.get(getattr(task.corpus, "name", ""))


class JudgeStrength(Study):
    """Judges of several sizes, and one that learnt from the reward model's own pairs."""

    tasks: Annotated[list[str], Field(min_length=1)]
    sizes: Annotated[list[Positive], Field(min_length=1)] = Field(
        [0.5, 1.0, 2.0, 4.0],
        description="parameters of the judges, as multiples of the reward model's; the width is what changes",
    )
    leak: bool = Field(
        True,
        description="one more judge of size 1, trained on the reward model's pairs instead of the judge's",
    )

    @model_validator(mode="after")
    def _leak_has_its_equal(self) -> JudgeStrength:
        if self.leak and 1.0 not in self.sizes:
            raise ValueError(
                "leak is measured against the judge of size 1; add 1 to sizes, or give leak: false"
            )
        return self


def judge_strength_problems(strength: JudgeStrength, tasks: Mapping[str, Task]) -> list[str]:
    """Why judges of other sizes cannot be trained."""
    problems = []
    for name in strength.tasks:
        if name not in tasks:
            problems.append(f"judge_strength.tasks: {_unknown(name, tasks)}")
            continue
        task = tasks[name]
        if task.corpus.teaches != "preferences":
            problems.append(f"judge_strength.tasks: the corpus of task {name} has no pairs; remove {name}")
        if task.judge.base.from_config is None or task.reward_shape is None:
            problems.append(
                f"judge_strength.tasks: judge and reward model of task {name} must be trained from scratch "
                f"(base: from_config), so that a size can be chosen; remove {name}"
            )
    return problems


class Exponents(Study):
    """Exponential transforms of many exponents, for the largest and smallest N."""

    n: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] = Field(
        [2, 4, 32], description="N of best-of-N or worst-of-N, as each task's goal has it"
    )
    t: Annotated[list[Exponent], Field(min_length=1)] = Field(
        [-40, -20, -10, -5, -2, 0, 2, 5, 10, 20, 40],
        description="exponents of the offline frontier; 0 is the identity, which they tend to",
    )
    kl: Positive = Field(0.5, description="nats, at which the transforms are compared")


def exponents_problems(
    exponents: Exponents, measured_n: Sequence[int], goals: Mapping[str, Goal]
) -> list[str]:
    """Why exponents cannot be compared: N that no policy is measured at (evaluation.n), goals of other kinds."""
    problems = [
        f"exponents.n: {n} is not one of evaluation.n, so that no policy is measured there; add it"
        for n in exponents.n
        if n not in measured_n
    ]
    return problems + [
        f"exponents: the goal of task {name} must be bon(n) or won(n), got {goal.procedure}; change "
        f"goals.{name}.procedure or remove exponents"
        for name, goal in goals.items()
        if parse_procedure(goal.procedure).name not in ("bon", "won")
    ]
