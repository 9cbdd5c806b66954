"""Tokens, operations, memory and disk of each stage of a run, and its GPU hours between two bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from infalign.alignment.bond import bond_stages, jbond_updates
from infalign.errors import InputError
from infalign.records.config import Config
from infalign.records.disk import model_bytes, n_responses, response_bytes
from infalign.records.methods import BONDSettings, JBONDSettings, OfflineSettings, PairSettings
from infalign.records.model_sizes import PUBLISHED, ModelSizes, base_sizes
from infalign.records.policy import Policy
from infalign.records.responses import ModelTraining, ResponseSet, ScoreSet
from infalign.records.task import Base, LanguageModel, PreferenceModel, Task
from infalign.studies.costs.block import Costs, TaskSizes

TRAIN, TRAIN_ADAPTERS = 3, 2  # forward passes; gradients of activations cost one, those of weights another
WEIGHT, TRAINED, HALF_COPY = 4, 16, 2  # bytes a parameter; with gradient and two moments; autocast's copy
LOGIT, LOGITS_IN_USE = 4, 28  # bytes a token and vocabulary entry: a logit; seven float32 copies at once
NUMBER = {"float32": 4, "bfloat16": 2}  # bytes of an activation and of a cached number
DIVERGENCE_BATCH = 64  # texts that `sequence_statistics` reads at once
JOB = ["task", "stage", "precision", "tokens", "operations", "disk_gb", "memory_gb"]
COSTS_COLUMNS = [*JOB[:3], "n_jobs", *JOB[3:], "hours_low", "hours_high"]


class TaskPlan(NamedTuple):
    """A task with sizes of models by name, and tokens of its texts: on average, and of the longest."""

    name: str
    task: Task
    known: Mapping[str, ModelSizes]
    n_rows: dict[str, Any]  # n_demonstrations and n_pairs
    prompt: float
    response: float
    length: float
    longest: int

    def sizes(self, base: Base) -> ModelSizes:
        """Look up a model's sizes; InputError where they are not known."""
        sizes = base_sizes(self.task, base, self.known)
        if sizes is None:
            model = base.hub or base.path or self.task.reference.base.hub or self.task.reference.base.path
            raise InputError(f"costs: sizes of {model} are not known; give costs.models.{model} (docs/costs.md)")
        return sizes

    @property
    def reference(self) -> ModelSizes:
        """Sizes of the reference, and so of every policy."""
        return self.sizes(self.task.reference.base)


def cost_table(
    config: Config,
    costs: Costs,
    policies: Sequence[Policy],
    responses: Mapping[str, ResponseSet],
    scores: Mapping[str, ScoreSet],
    trainings: Mapping[str, ModelTraining],
) -> pl.DataFrame:
    """Estimate every stage of a run; all of its jobs count, those that are done too.

    Returns
    -------
    polars.DataFrame
        COSTS_COLUMNS, a row per task and stage: `tokens` read or written and `operations` of all jobs, `disk_gb`
        that stays, `memory_gb` of the device that one job needs at the longest texts, `hours_low` and
        `hours_high`: operations over throughput. InputError where a size is not known.
    """
    plans = {name: plan_task(config, costs, name) for name in config.tasks}
    jobs = [(name, "reference", *_model(plan, plan.task.reference)) for name, plan in plans.items()]
    for key, model in trainings.items():
        stage = key.split("/")[-1 if "/models/" in key else -2]  # of studies: proxies, judges, ...
        n_pairs = model.n_pairs or plans[model.task].n_rows["n_pairs"]
        plan = plans[model.task]._replace(n_rows=plans[model.task].n_rows | {"n_pairs": n_pairs})
        jobs.append((model.task, stage, *_model(plan, model.settings)))
    for entry in responses.values():
        jobs.append((entry.task, entry.stream, *_sampling(config, plans[entry.task], entry)))
    for policy in policies:
        jobs.append((policy.task, f"train {policy.method}", *_training(config, plans[policy.task], policy)))
    for scored in scores.values():
        judged = responses[scored.responses]
        work = _scoring(config, plans[scored.task], scored, judged, trainings)
        jobs.append((scored.task, f"scores of {judged.stream}", *work))
    jobs.sort(key=lambda job: list(plans).index(job[0]))
    device, gigabytes = costs.throughput, [pl.sum("disk_gb") / 1e9, pl.max("memory_gb") / 1e9]
    stages = pl.DataFrame(jobs, schema=JOB, orient="row").group_by(JOB[:3], maintain_order=True)
    table = stages.agg(pl.len().cast(pl.Int64).alias("n_jobs"), pl.sum("tokens", "operations"), *gigabytes)
    peak = pl.when(pl.col("precision") == "float32").then(device.float32).otherwise(device.bfloat16) * 3.6e15
    low, high = (pl.col("operations") / (peak * share) for share in sorted(device.share, reverse=True))
    return table.with_columns(low.alias("hours_low"), high.alias("hours_high"))


def plan_task(config: Config, costs: Costs, name: str) -> TaskPlan:
    """Look up the sizes of a task's texts and data."""
    task, given = config.tasks[name], costs.tasks.get(name, TaskSizes())
    corpus, response, shape = dict(task.corpus), task.rollouts.max_new_tokens, task.reference.base.from_config
    longest = corpus.get("max_prompt_tokens") or (shape.context - response if shape else response)
    means = given.prompt_tokens or longest, given.response_tokens or response
    n_pairs = given.n_pairs or corpus.get("n_pairs") or corpus.get("n_labelled")
    n_rows = {
        "n_demonstrations": given.n_demonstrations or corpus.get("n_demonstrations"),
        "n_pairs": n_pairs,
    }
    return TaskPlan(name, task, PUBLISHED | costs.models, n_rows, *means, sum(means), longest + response)


def read(model: ModelSizes, n: float, length: float, head: float = 0.0, passes: int = 1) -> NDArray:
    """Count (tokens, operations) of n texts of a length, `head` tokens of each with distributions."""
    return n * np.array([length, passes * model.operations(length, length, head)], dtype=float)


def write(plan: TaskPlan, n_prompts: float, n: float) -> NDArray:
    """Count (tokens, operations) of n responses that are written token by token after their prompts are read."""
    operations = plan.reference.operations(plan.response, plan.prompt + plan.response / 2, plan.response)
    written = n * np.array([plan.response, operations], dtype=float)
    return written + read(plan.reference, n_prompts, plan.prompt, plan.prompt)


def _kept(model: ModelSizes, tokens: float, head: float, precision: str = "float32") -> float:
    return tokens * model.activations * NUMBER[precision] + head * model.vocabulary_size * LOGITS_IN_USE


def _cache(plan: TaskPlan, rows: float, precision: str = "float32") -> float:
    model = plan.reference
    return rows * (plan.longest * model.cached * NUMBER[precision] + model.vocabulary_size * LOGITS_IN_USE)


def _model(plan: TaskPlan, block: LanguageModel | PreferenceModel) -> tuple:
    model, learns = plan.sizes(block.base), getattr(block, "learns", None)
    work, memory = np.zeros(2), float(model.parameters * WEIGHT)
    for training, language in ((block.pretraining, True), (block.training, learns is None)):
        key, sides = ("n_demonstrations", 1) if language else ("n_pairs", 2 if learns == "preferences" else 1)
        if training is not None and plan.n_rows[key] is None:
            raise InputError(f"costs: the number of training rows is not known; give costs.tasks.{plan.name}.{key}")
        if training is not None:
            n, head = sides * plan.n_rows[key] * training.epochs, plan.length * language
            work += read(model, n, plan.length, head, TRAIN)
            tokens = sides * training.batch_size * plan.longest
            memory = max(memory, model.parameters * TRAINED + _kept(model, tokens, tokens * language))
    return "float32", *work, model_bytes(plan.task, block.base, plan.known), memory


def _sampling(config: Config, plan: TaskPlan, entry: ResponseSet) -> tuple:
    n_prompts, n = n_responses(config, entry)
    memory = plan.reference.parameters * WEIGHT + _cache(plan, min(entry.sampling.batch_size, n))
    return "float32", *write(plan, n_prompts, n), response_bytes(config, entry), memory


def _scoring(
    config: Config,
    plan: TaskPlan,
    entry: ScoreSet,
    responses: ResponseSet,
    trainings: Mapping[str, ModelTraining],
) -> tuple:
    n = n_responses(config, responses)[1]
    reward_model, judge = (plan.sizes(trainings[key].settings.base) for key in (entry.reward_model, entry.judge))
    work = read(reward_model, n, plan.length) + read(judge, n, plan.length)
    memory = (reward_model.parameters + judge.parameters) * WEIGHT
    if entry.policy is not None:  # read by policy and reference too, once the reward model has gone
        work += 2 * read(plan.reference, n, plan.length, plan.length)
        logits = plan.longest * LOGIT + plan.task.rollouts.max_new_tokens * LOGITS_IN_USE
        weights = (2 * plan.reference.parameters + judge.parameters) * WEIGHT
        memory = max(memory, weights + DIVERGENCE_BATCH * plan.reference.vocabulary_size * logits)
    return "float32", *work, response_bytes(config, responses), memory


def _training(config: Config, plan: TaskPlan, policy: Policy) -> tuple:
    settings: Any = config.methods[policy.method]
    precision = getattr(settings, "precision", "float32")
    disk = model_bytes(plan.task, plan.task.reference.base, plan.known)
    return precision, *training_work(settings, plan, policy), disk, training_memory(settings, plan, precision)


def training_work(settings: Any, plan: TaskPlan, policy: Policy) -> NDArray:
    """Count (tokens, operations) of one policy's training; none where best-of-1 asks for the reference itself."""
    model, n, updates = plan.reference, policy.strength, settings.updates
    if policy.strength_kind == "n" and n <= 1:
        return np.zeros(2)
    passes = TRAIN if getattr(settings, "lora", None) is None else TRAIN_ADAPTERS
    if isinstance(settings, OfflineSettings):
        width = 2 if isinstance(settings, PairSettings) or settings.kind == "bonbon" else 1
        return read(model, updates * settings.examples_per_update * width, plan.length, plan.response, passes)
    anchored = best = 0  # responses that anchors write, and those of them whose likelihood is learnt
    if isinstance(settings, BONDSettings):
        stages = bond_stages(int(n), settings.n_each)
        updates, anchored = stages * updates, (stages - 1) * settings.quantile_samples
        anchored *= plan.task.corpus.n_train_prompts
        best = updates * settings.prompts_per_update * settings.samples_per_prompt
    elif isinstance(settings, JBONDSettings):
        updates = jbond_updates(n, updates)
        best = updates * settings.prompts_per_update
        anchored = 2 * best
    drawn = updates * settings.prompts_per_update * settings.samples_per_prompt
    written, learnt = drawn + anchored, (drawn + best) * getattr(settings, "epochs", 1)
    work = write(plan, written / settings.samples_per_prompt, written)
    work += read(plan.sizes(plan.task.reward_model.base), written, plan.length)
    work += 2 * read(model, drawn, plan.length, plan.response)  # under policy and reference
    return work + read(model, learnt, plan.length, plan.response, passes)


def training_memory(settings: Any, plan: TaskPlan, precision: str) -> float:
    """Bytes of one training: weights of all its models, and the larger of gradients' needs and sampling's."""
    model, weights = plan.reference, WEIGHT + HALF_COPY * (precision == "bfloat16")
    lora = getattr(settings, "lora", None) is not None  # adapters, under 1 %, stand beside the reference's weights
    each = weights + (0 if lora else weights + TRAINED - WEIGHT)
    copies = isinstance(settings, BONDSettings | JBONDSettings) + (getattr(settings, "weight_average", 0) > 0)
    memory = model.parameters * (each + copies * WEIGHT)
    chunk, response = settings.chunk_size, plan.task.rollouts.max_new_tokens
    learning = _kept(model, chunk * plan.longest, chunk * response, precision)
    if isinstance(settings, OfflineSettings):
        return memory + learning
    sampling = _cache(plan, settings.prompts_per_update * settings.samples_per_prompt, precision)
    return memory + plan.sizes(plan.task.reward_model.base).parameters * WEIGHT + max(learning, sampling)
