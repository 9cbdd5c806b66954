"""The block `hedging`: pools of responses, and the proxies that select from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from infalign.mathematics.families import Family, methods_with_n
from infalign.mathematics.procedures import PROCEDURES
from infalign.records.block import Block, Count, StudyBlock, settings_json, short_hash, unknown_task
from infalign.records.corpus import GOLD_SOURCES
from infalign.records.task import Base, PreferenceModel, Rollouts, Task, Training

METHODS = tuple(kind.name for kind in PROCEDURES if kind.theta is not None)
PAPER_METHODS = ("bon", "sbon", "bop", "tilt")  # Khalaf et al. 2025
if TYPE_CHECKING:
    HedgedMethod = str
else:
    HedgedMethod = Literal[METHODS]


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
        """Whether it is the task's own reward model, unchanged."""
        return self == Proxy()

    @property
    def changes_pairs(self) -> bool:
        return self.flipped is not None or self.n_pairs is not None


class HedgedPool(StudyBlock):
    """Many responses of a task's reference to its evaluation prompts, by which procedures are hedged."""

    task: str
    true_reward: Literal["gold", "judge"] = Field(description="what counts, a column of the scores")
    n_samples: Annotated[int, Field(ge=2)] = Field(1000, description="responses to a prompt")
    n_prompts: Annotated[int, Field(ge=4)] | None = Field(
        None, description="evaluation prompts, the first ones; default: all"
    )
    methods: Annotated[list[HedgedMethod], Field(min_length=1)] = Field(list(PAPER_METHODS))
    sbon_n: Annotated[list[Count], Field(min_length=1)] = Field([16], description="n of soft best-of-n")
    proxies: Annotated[dict[Annotated[str, Field(pattern=r"^[a-z0-9_]+$")], Proxy], Field(min_length=1)]

    @model_validator(mode="after")
    def _draws_fit(self) -> HedgedPool:
        if {*methods_with_n()} & {*self.methods} and max(self.sbon_n) > self.n_samples:
            raise ValueError(
                f"sbon_n must be at most n_samples = {self.n_samples}, got {max(self.sbon_n)}; remove it or "
                "raise n_samples"
            )
        return self

    @property
    def folder(self) -> str:
        """Its folder below the task's `pools/`, e.g. n1000-p64."""
        return f"n{self.n_samples}-p{self.n_prompts or 'all'}"

    @property
    def proxy_names(self) -> dict[str, str]:
        """Each proxy's name in paths; all but the task's own reward model end with the hash of their settings."""
        return {
            name: "reward_model" if proxy.is_own else f"{name}-{short_hash(settings_json(proxy))}"
            for name, proxy in self.proxies.items()
        }

    @property
    def families(self) -> list[Family]:
        """The procedures in the order of `methods`; soft best-of-n comes once for each n."""
        counts = dict.fromkeys(methods_with_n(), self.sbon_n)
        return [Family(method, n) for method in self.methods for n in counts.get(method, [None])]


def _pool_problems(task: Task, pool: HedgedPool) -> list[str]:
    problems = []
    available, place = task.corpus.n_evaluation_prompts, f"(tasks.{pool.task}.corpus.n_evaluation_prompts)"
    if (pool.n_prompts or available) > available:
        problems.append(f"n_prompts must be at most {available} {place}, got {pool.n_prompts}")
    if pool.n_prompts is None and available < 4:
        problems.append(
            "n_prompts: half of the prompts choose, the others report, so at least 4 are needed, "
            f"got {available} {place}"
        )
    if pool.true_reward == "gold" and task.corpus.source not in GOLD_SOURCES:
        problems.append(f"true_reward: gold, but the corpus of task {pool.task} has no gold reward; use judge")
    if pool.true_reward == "gold" and getattr(task.corpus, "variant", "standard") == "null":
        problems.append(
            f"true_reward: gold, but that of task {pool.task}, variant null, is the same for all responses to a "
            "prompt; use judge"
        )
    return problems + [
        f"proxies.{name}: {problem}" for name, proxy in pool.proxies.items() for problem in _proxy_problems(task, proxy)
    ]


def _proxy_problems(task: Task, proxy: Proxy) -> list[str]:
    """Why a proxy cannot be trained: its block must be valid as the task's reward model."""
    values = task.model_dump() | {"reward_model": _proxy_values(task, proxy)}
    try:
        block = Task.model_validate(values).reward_model
    except ValidationError as error:
        return [item["msg"].removeprefix("Value error, ") for item in error.errors()]
    if not proxy.changes_pairs:
        return []
    if block.training is None:
        return ["flipped and n_pairs change training pairs, but the model takes no training; give training"]
    if block.learns != "preferences":
        return [f"flipped and n_pairs change training pairs, but the model learns {block.learns}; remove them"]
    available = getattr(task.corpus, "n_pairs", None)
    if proxy.n_pairs is not None and available is not None and proxy.n_pairs > available:
        return [f"n_pairs must be at most {available} (corpus.n_pairs), got {proxy.n_pairs}"]
    return []


def _proxy_values(task: Task, proxy: Proxy) -> dict[str, Any]:
    if proxy.base is None:
        return task.reward_model.model_dump()
    settings = proxy.model_dump(include={"base", "pretraining", "training"})
    return settings | {"learns": task.reward_model.learns}


def proxy_model(task: Task, proxy: Proxy) -> PreferenceModel:
    """Return the block by which a proxy of the task is trained."""
    return PreferenceModel.model_validate(_proxy_values(task, proxy))


def pools_problems(pools: Sequence[HedgedPool], tasks: Mapping[str, Task]) -> list[str]:
    """Why the pools of a run cannot be made or scored."""
    names = [pool.task for pool in pools]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    advice = "give all its proxies and methods in one pool"
    problems = [f"hedging: task {name} is listed twice; {advice}" for name in twice]
    for i, pool in enumerate(pools):
        if pool.task in tasks:
            problems += [f"hedging.{i}.{problem}" for problem in _pool_problems(tasks[pool.task], pool)]
        else:
            problems.append(f"hedging.{i}.task: {unknown_task(pool.task, tasks)}")
    return problems


def pool_sampling(task: Task, pool: HedgedPool) -> Rollouts:
    """Return how the reference is sampled for a pool: as for the rollouts, with more responses."""
    return task.rollouts.model_copy(update={"n_rollouts": pool.n_samples})
