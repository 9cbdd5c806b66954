"""What each stage of a run costs: GPU hours, disk and memory, before any of it is spent.

Hours are those of mean lengths, memory that of the longest texts. Every job counts, whether it is done or not.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from infalign.errors import InputError
from infalign.mathematics.costs import (
    TRAINED_BYTES,
    TRAINING,
    TRAINING_ADAPTERS,
    WEIGHT_BYTES,
    Device,
    Precision,
    Shape,
    Time,
    forward_flops,
    reading_bytes,
    reading_time,
    training_bytes,
    weight_bytes,
    writing_bytes,
    writing_time,
)
from infalign.records.config import Config
from infalign.records.costs import Costs
from infalign.records.disk import BYTES_PER_TOKEN
from infalign.records.methods import BONDSettings, JBONDSettings, OfflineSettings, PairSettings
from infalign.records.policy import Policy
from infalign.records.sweep import conditions, policies, sampled_sets
from infalign.records.task import Base, Task, Training

COSTS_SCHEMA = {
    "task": pl.String,
    "stage": pl.String,
    "n_jobs": pl.Int64,
    "hours": pl.Float64,
    "hours_a_job": pl.Float64,
    "limit": pl.String,
    "disk_gb": pl.Float64,
    "scratch_gb": pl.Float64,
    "memory_gb": pl.Float64,
}
SCORING_BATCH = 32  # of `reward_scores`, everywhere
DIVERGENCE_BATCH = 64  # of `sequence_statistics`
SAMPLING_BATCH = 1024  # of `sample_tokens`, where a training samples
PRICED = {"run", "data_root", "tasks", "goals", "methods", "policies", "evaluation", "theory", "costs"}


@dataclass(frozen=True)
class Stage:
    """A row of the table before its units: times of all jobs together, bytes of all files, memory of one job."""

    name: str
    n_jobs: int
    times: list[Time]
    disk: float
    memory: float
    scratch: float = 0.0


@dataclass(frozen=True)
class PricedTask:
    """A task with the sizes of its models and texts.

    Attributes
    ----------
    shapes : of reference, reward_model and judge.
    prompt, response : mean numbers of tokens.
    longest_prompt, longest_response : the most there can be.
    n_demonstrations, n_pairs : rows that models are trained on; None where that is not known.
    """

    task: Task
    device: Device
    shapes: dict[str, Shape]
    prompt: float
    response: float
    longest_prompt: int
    longest_response: int
    n_demonstrations: int | None
    n_pairs: int | None

    @property
    def length(self) -> float:
        return self.prompt + self.response

    @property
    def longest(self) -> int:
        return self.longest_prompt + self.longest_response


def cost_table(config: Config, costs: Costs) -> pl.DataFrame:
    """Price every stage of a run.

    Parameters
    ----------
    config : of the run.
    costs : device, sizes of models and of data.

    Returns
    -------
    Columns COSTS_SCHEMA, a row per task and stage: `hours` of the device for all jobs, `limit` what most of
    them is due to (arithmetic, bandwidth, layers or jobs), `disk_gb` what stays, `scratch_gb` the checkpoint of
    one job while it runs, `memory_gb` the most that one job needs on the device.

    Raises
    ------
    InputError
        The sizes of a model or of the training data are not known.
    """
    rows = []
    for name in config.tasks:
        priced = price_task(config, costs, name)
        own = [policy for policy in policies(config) if policy.task == name]
        stages = [
            *_model_stages(name, priced),
            *_rollout_stages(priced),
            *_policy_stages(config, priced, own),
        ]
        rows += [_row(name, stage, priced.device) for stage in stages]
    return pl.DataFrame(rows, schema=COSTS_SCHEMA, orient="row")


def unpriced(config: Config) -> list[str]:
    """Name the blocks of a configuration that are used and that the table does not price."""
    fields = type(config).model_fields
    return [
        name
        for name in fields
        if name not in PRICED and getattr(config, name) != fields[name].get_default(call_default_factory=True)
    ]


def _row(task: str, stage: Stage, device: Device) -> tuple:
    jobs = Time(stage.n_jobs * device.job_seconds, "jobs")
    by_limit: dict[str, float] = {}
    for time in [*stage.times, jobs]:
        by_limit[time.limit] = by_limit.get(time.limit, 0.0) + time.seconds
    hours = sum(by_limit.values()) / 3600
    limit = max(by_limit, key=lambda name: by_limit[name])
    gigabytes = [value / 1e9 for value in (stage.disk, stage.scratch, stage.memory)]
    return (task, stage.name, stage.n_jobs, hours, hours / stage.n_jobs, limit, *gigabytes)


def price_task(config: Config, costs: Costs, name: str) -> PricedTask:
    """Look up the sizes of a task's models and texts; InputError where a model is not known."""
    task, sizes = config.tasks[name], costs.tasks.get(name)
    longest_prompt = getattr(task.corpus, "max_prompt_tokens", None) or _room(task)
    longest_response = task.rollouts.max_new_tokens
    return PricedTask(
        task,
        costs.speed().device(),
        {
            role: model_shape(task, costs, getattr(task, role).base)
            for role in ("reference", "reward_model", "judge")
        },
        prompt=(sizes and sizes.prompt_tokens) or longest_prompt,
        response=(sizes and sizes.response_tokens) or longest_response,
        longest_prompt=longest_prompt,
        longest_response=longest_response,
        n_demonstrations=(sizes and sizes.n_demonstrations) or getattr(task.corpus, "n_demonstrations", None),
        n_pairs=(sizes and sizes.n_pairs)
        or getattr(task.corpus, "n_pairs", None)
        or getattr(task.corpus, "n_labelled", None),
    )


def _room(task: Task) -> int:
    """Tokens that the context of a model from scratch leaves to prompts, where the corpus has no limit."""
    base = task.reference.base.from_config
    if base is None:
        raise InputError(
            "costs: the corpus has no max_prompt_tokens and the reference no context; the longest prompt is "
            "not known"
        )
    return base.context - task.rollouts.max_new_tokens


def model_shape(task: Task, costs: Costs, base: Base) -> Shape:
    """Sizes of the model that a `base` block names."""
    if base.reference:
        return model_shape(task, costs, task.reference.base)
    if base.from_config is None:
        return costs.shape(base.hub or base.path or "")
    sizes, vocabulary = base.from_config, task.vocabulary_size or 0
    hidden = sizes.hidden_size
    return Shape(hidden, sizes.n_layers, hidden, hidden, sizes.intermediate_size, vocabulary)


def _model_stages(name: str, priced: PricedTask) -> Iterator[Stage]:
    for role in ("reference", "reward_model", "judge"):
        model, shape = getattr(priced.task, role), priced.shapes[role]
        times, memory = [], float(weight_bytes(shape))
        if model.pretraining is not None or (role == "reference" and model.training is not None):
            n = _known(priced.n_demonstrations, name, "n_demonstrations")
            for training in filter(
                None, (model.pretraining, model.training if role == "reference" else None)
            ):
                times.append(_training_time(priced, shape, training, n, head=True))
                memory = max(memory, _training_memory(priced, shape, training.batch_size, head=True))
        if role != "reference" and model.training is not None:
            sides = 1 if model.learns == "labels" else 2
            n = sides * _known(priced.n_pairs, name, "n_pairs")
            times.append(_training_time(priced, shape, model.training, n, head=False))
            memory = max(
                memory, _training_memory(priced, shape, sides * model.training.batch_size, head=False)
            )
        yield Stage(role, 1, times, disk=shape.parameters * WEIGHT_BYTES, memory=memory)


def _known(count: int | None, task: str, key: str) -> int:
    if count is None:
        raise InputError(
            f"costs: how many rows task {task} trains on is known only once its data are read; give about how "
            f"many as costs.tasks.{task}.{key}"
        )
    return count


def _training_time(priced: PricedTask, shape: Shape, training: Training, n: int, *, head: bool) -> Time:
    return reading_time(
        shape,
        priced.device,
        "float32",
        n=n * training.epochs,
        length=priced.length,
        batch=training.batch_size,
        head_tokens=priced.length if head else 0,
        work=TRAINING,
    )


def _training_memory(priced: PricedTask, shape: Shape, texts: int, *, head: bool) -> float:
    tokens = texts * priced.longest
    kept = training_bytes(shape, "float32", tokens=tokens, head_tokens=tokens if head else 0)
    return weight_bytes(shape, trained=True) + kept


def _rollout_stages(priced: PricedTask) -> Iterator[Stage]:
    task, k = priced.task, priced.task.rollouts.n_rollouts
    sets = {"train": task.corpus.n_train_prompts}
    sets |= dict.fromkeys((c.name for c in conditions(task)), task.corpus.n_evaluation_prompts)
    for name, n_prompts in sets.items():
        yield _sampling(f"rollouts {name}", priced, n_prompts, k)
        yield _scoring(f"scores {name}", priced, n_prompts * k, divergence=False)


def _sampling(name: str, priced: PricedTask, n_prompts: int, k: int, n_jobs: int = 1) -> Stage:
    """Jobs that write k responses to each prompt in float32."""
    rollouts, shape = priced.task.rollouts, priced.shapes["reference"]
    rows = min(rollouts.batch_size, n_prompts * k)
    times = _of_all(n_jobs, _writing(priced, "float32", n_prompts * k, rows, n_prompts))
    memory = weight_bytes(shape) + _writing_memory(priced, "float32", rows, math.ceil(rows / k))
    return Stage(name, n_jobs, times, _table_bytes(priced, n_jobs * n_prompts * k), memory)


def _writing(priced: PricedTask, precision: Precision, n: float, rows: int, prompts: float) -> list[Time]:
    """Times to read prompts and to write n responses in batches of so many rows."""
    shape, device = priced.shapes["reference"], priced.device
    read = reading_time(
        shape, device, precision, n=prompts, length=priced.prompt, batch=rows, head_tokens=priced.prompt
    )
    lengths: dict[str, Any] = {"prompt": priced.prompt, "response": priced.response}
    lengths["longest"] = priced.longest_response
    return [read, writing_time(shape, device, precision, n=n, batch=rows, **lengths)]


def _writing_memory(priced: PricedTask, precision: Precision, rows: int, prompts: int) -> float:
    lengths = {"prompt": priced.longest_prompt, "longest": priced.longest_response}
    return writing_bytes(priced.shapes["reference"], precision, rows=rows, prompts=prompts, **lengths)


def _table_bytes(priced: PricedTask, n: int) -> float:
    return n * priced.response * BYTES_PER_TOKEN


def _scoring(name: str, priced: PricedTask, n: int, *, divergence: bool, n_jobs: int = 1) -> Stage:
    """Jobs that read n responses each with the reward model and the judge and, of policies, with both models."""
    reference, batch = priced.shapes["reference"], SCORING_BATCH
    roles = [priced.shapes[role] for role in ("reward_model", "judge")]
    times = [_read(priced, shape, "float32", n, batch) for shape in roles]
    memory = sum(map(weight_bytes, roles)) + max(
        reading_bytes(shape, tokens=batch * priced.longest) for shape in roles
    )
    if divergence:
        times += 2 * [_read(priced, reference, "float32", n, DIVERGENCE_BATCH, priced.length)]
        logits = DIVERGENCE_BATCH * priced.longest
        read = reading_bytes(
            reference, tokens=logits, logits=logits, head_tokens=DIVERGENCE_BATCH * priced.longest_response
        )
        memory = max(memory, weight_bytes(roles[-1]) + 2 * weight_bytes(reference) + read)
    return Stage(name, n_jobs, _of_all(n_jobs, times), _table_bytes(priced, n_jobs * n), memory)


def _of_all(n_jobs: int, times: list[Time]) -> list[Time]:
    return [Time(n_jobs * time.seconds, time.limit) for time in times]


def _read(
    priced: PricedTask, shape: Shape, precision: Precision, n: float, batch: int, head: float = 0
) -> Time:
    return reading_time(
        shape, priced.device, precision, n=n, length=priced.length, batch=batch, head_tokens=head
    )


def _policy_stages(config: Config, priced: PricedTask, rows: Sequence[Policy]) -> Iterator[Stage]:
    shape = priced.shapes["reference"]
    for method in dict.fromkeys(policy.method for policy in rows):
        own = [policy for policy in rows if policy.method == method]
        times = [time for policy in own for time in training_times(config, priced, policy)]
        memory = max(training_memory(config, priced, policy) for policy in own)
        disk = len(own) * shape.parameters * WEIGHT_BYTES
        scratch = 3 * _trained_parameters(shape, config.methods[method]) * WEIGHT_BYTES
        yield Stage(f"train {method}", len(own), times, disk, memory, scratch)
    task = priced.task
    n_jobs = Counter(condition.name for policy in rows for condition in sampled_sets(config, policy).values())
    for name, jobs in n_jobs.items():
        n = task.corpus.n_evaluation_prompts * task.samples.n_samples
        sizes = task.corpus.n_evaluation_prompts, task.samples.n_samples
        yield _sampling(f"samples {name}", priced, *sizes, n_jobs=jobs)
        yield _scoring(f"policy scores {name}", priced, n, divergence=True, n_jobs=jobs)


def n_updates(settings: Any, n: float) -> int:
    """How many batches a training takes for a strength; none where best-of-1 asks for the reference itself.

    Examples
    --------
    >>> n_updates(BONDSettings(updates=10), 8), n_updates(JBONDSettings(updates=10), 8)
    (30, 30)
    """
    if isinstance(settings, BONDSettings):
        return settings.updates * round(math.log(n, settings.n_each))
    if isinstance(settings, JBONDSettings):
        return math.ceil(settings.updates * math.log2(n))
    return settings.updates


def training_times(config: Config, priced: PricedTask, policy: Policy) -> list[Time]:
    """Times of one policy's training, part by part."""
    settings: Any = config.methods[policy.method]
    n = policy.strength if policy.strength_kind == "n" else 2.0
    updates = n_updates(settings, n) if n > 1 else 0
    if updates == 0:
        return []
    if isinstance(settings, OfflineSettings):
        responses = updates * settings.examples_per_update * _width(settings)
        return [_learning(priced, settings, responses)]
    per_update = settings.prompts_per_update * settings.samples_per_prompt
    anchors, best = _anchor_work(priced.task, settings, updates)
    written = updates * per_update + anchors
    rows = min(SAMPLING_BATCH, per_update)
    precision = _precision(settings)
    times = _writing(priced, precision, written, rows, written / settings.samples_per_prompt)
    times.append(_read(priced, priced.shapes["reward_model"], "float32", written, SCORING_BATCH))
    measured = updates * per_update
    times += 2 * [
        _read(priced, priced.shapes["reference"], precision, measured, settings.chunk_size, priced.response)
    ]
    times.append(_learning(priced, settings, measured * getattr(settings, "epochs", 1) + best))
    if getattr(settings, "kl_penalty", "") == "full_vocabulary":
        head = forward_flops(priced.shapes["reference"], 0, 0, priced.response) * measured * settings.epochs
        times.append(priced.device.time(head, 0, 0, precision))
    return times


def _anchor_work(task: Task, settings: Any, updates: int) -> tuple[int, int]:
    """Responses that BOND's anchors write, and of them those that the policy learns by likelihood."""
    per_update = settings.prompts_per_update * settings.samples_per_prompt
    if isinstance(settings, BONDSettings):
        stages = (
            updates // settings.updates
        )  # the anchor of the first is the reference, whose rollouts there are
        written = (stages - 1) * settings.quantile_samples * task.corpus.n_train_prompts
        return written, updates * per_update * settings.epochs
    if isinstance(settings, JBONDSettings):
        return (
            2 * updates * settings.prompts_per_update,
            updates * settings.prompts_per_update * settings.epochs,
        )
    return 0, 0


def _width(settings: OfflineSettings) -> int:
    """Responses of an example."""
    return 2 if isinstance(settings, PairSettings) or settings.kind == "bonbon" else 1


def _precision(settings: Any) -> Precision:
    return getattr(settings, "precision", "float32")


def _trained_parameters(shape: Shape, settings: Any) -> int:
    """Those that a training changes: all, or adapters, which are taken to stand beside every matrix."""
    lora = getattr(settings, "lora", None)
    return shape.parameters if lora is None else shape.adapter_parameters(lora.rank)


def _learning(priced: PricedTask, settings: Any, responses: float) -> Time:
    return reading_time(
        priced.shapes["reference"],
        priced.device,
        _precision(settings),
        n=responses,
        length=priced.length,
        batch=settings.chunk_size,
        head_tokens=priced.response,
        work=TRAINING if getattr(settings, "lora", None) is None else TRAINING_ADAPTERS,
    )


def training_memory(config: Config, priced: PricedTask, policy: Policy) -> float:
    """Most bytes that one policy's training needs on the device."""
    settings: Any = config.methods[policy.method]
    shape, precision = priced.shapes["reference"], _precision(settings)
    models = weight_bytes(shape, precision=precision)
    if getattr(settings, "lora", None) is None:
        models += weight_bytes(shape, trained=True, precision=precision)
    else:  # beside the reference's own weights
        models += _trained_parameters(shape, settings) * TRAINED_BYTES
    models += shape.parameters * WEIGHT_BYTES * (getattr(settings, "weight_average", 0.0) > 0)
    models += weight_bytes(shape) * isinstance(settings, BONDSettings | JBONDSettings)
    chunk = settings.chunk_size
    learning = training_bytes(
        shape, precision, tokens=chunk * priced.longest, head_tokens=chunk * priced.longest_response
    )
    if isinstance(settings, OfflineSettings):
        return models + learning
    rows = min(SAMPLING_BATCH, settings.prompts_per_update * settings.samples_per_prompt)
    writing = _writing_memory(priced, precision, rows, settings.prompts_per_update)
    return models + weight_bytes(priced.shapes["reward_model"]) + max(learning, writing)
