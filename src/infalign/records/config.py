"""The configuration: one file is one run. These models are its only definition."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from infalign.errors import InputError
from infalign.mathematics.calibration import parse_calibrator
from infalign.mathematics.procedures import parse_procedure
from infalign.mathematics.transforms import parse_transform
from infalign.records.methods import METHODS, BONDSettings, MethodSettings, PairSettings, Strength

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Learns = Literal["preferences", "labels"]
Teaches = Literal["preferences", "labels", "answers"]
TooLong = Literal["error", "drop", "truncate_left"]
B = TypeVar("B")


class Block(BaseModel):
    """A part of the configuration: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class EmbeddedCorpus(Block):
    """Dialogues, summaries or problems written by the project itself, with a known (gold) reward."""

    teaches: ClassVar[Teaches] = "preferences"
    files: ClassVar[tuple[str, ...]] = ()

    source: Literal["embedded"]
    name: Literal["helpful", "harmless", "summaries", "arithmetic", "multiple_choice"]
    variant: Literal["standard", "null"] = Field(
        "standard", description="null: preferences and gold reward are independent of the response"
    )
    n_demonstrations: Count
    n_train_prompts: Count = Field(description="prompts with rollouts, on which policies are trained")
    n_evaluation_prompts: Count = Field(
        description="of each split: summaries has them out of distribution too"
    )
    n_pairs: Count = Field(
        description="training pairs of the reward model and, apart from them, of the judge"
    )
    n_test_pairs: Count = Field(description="held-out pairs of each")


HH_SUBSETS = ("helpful-base", "harmless-base")


class PreferenceCorpus(Block):
    """Preference pairs in the form of Anthropic HH, from a local folder (`data_root`) or HH itself from the hub."""

    teaches: ClassVar[Teaches] = "preferences"

    source: Literal["preferences"]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")] = Field(
        description="folder below data_root with *.jsonl.gz; from the hub one of HH_SUBSETS"
    )
    revision: str = Field(
        "main", description="revision of Anthropic/hh-rlhf on the hub; unused with data_root"
    )
    n_train_prompts: Count
    n_evaluation_prompts: Count
    max_prompt_tokens: Count
    max_response_tokens: Count
    too_long: TooLong = Field(
        "error", description="what happens to dialogues over the limits; what is dropped or cut is counted"
    )

    @property
    def files(self) -> tuple[str, ...]:
        """Patterns of the files below data_root, each of which must name one at least."""
        return (f"{self.name}/*.jsonl.gz",)

    @property
    def hub(self) -> tuple[str, ...]:
        """Data sets of the hub that it is read from without data_root; none for a folder of one's own."""
        return ("Anthropic/hh-rlhf",) if self.name in HH_SUBSETS else ()


class ReviewCorpus(Block):
    """Film reviews with a sentiment (IMDB), from a local folder (`data_root`) or from the hub."""

    teaches: ClassVar[Teaches] = "labels"
    hub: ClassVar[tuple[str, ...]] = ("stanfordnlp/imdb",)
    files: ClassVar[tuple[str, ...]] = ("train.jsonl.gz", "unsup.jsonl.gz")

    source: Literal["reviews"]
    name: Literal["imdb"] = "imdb"
    revision: str = Field(
        "main", description="revision of stanfordnlp/imdb on the hub; unused with data_root"
    )
    n_train_prompts: Count = Field(description="prompts with rollouts, on which policies are trained")
    n_evaluation_prompts: Count
    n_demonstrations: Count = Field(description="unlabelled reviews")
    n_labelled: Count = Field(
        description="labelled reviews for training the reward model and, apart from them, the judge"
    )
    n_test_labelled: Count = Field(description="held-out labelled reviews of each")
    prompt_words: tuple[Count, Count] = Field(
        (2, 8), description="fewest and most words of a prompt (vBoN, section 5: 2 to 8)"
    )
    max_prompt_tokens: Count
    max_response_tokens: Count
    too_long: TooLong = Field(
        "error",
        description="what happens to reviews over the limits; truncate_left ends them after a whole sentence",
    )

    @model_validator(mode="after")
    def _prompt_words_rise(self) -> ReviewCorpus:
        fewest, most = self.prompt_words
        if fewest > most:
            raise ValueError(
                f"prompt_words are the fewest and the most, got [{fewest}, {most}]; exchange them"
            )
        return self


TLDR_DATASETS = ("trl-lib/tldr", "trl-lib/tldr-preference")


class SummaryCorpus(Block):
    """Reddit posts with their TL;DR summaries, from a local folder (`data_root`) or from the hub."""

    teaches: ClassVar[Teaches] = "preferences"

    source: Literal["tldr"]
    revision: str = Field("main", description="revision of trl-lib/tldr on the hub; unused with data_root")
    pairs_revision: str = Field(
        "main", description="revision of trl-lib/tldr-preference on the hub; unused with data_root"
    )
    subreddits: Annotated[list[str], Field(min_length=1)] = Field(
        ["relationships", "relationship_advice"],
        description="in distribution: policies are trained on their posts (vBoN, section 6)",
    )
    n_train_prompts: Count
    n_evaluation_prompts: Count = Field(description="of each split: in and out of distribution alike")
    max_prompt_tokens: Count
    max_response_tokens: Count
    too_long: Literal["error", "drop"] = Field(
        "error", description="what happens to texts over the limits; what is dropped is counted"
    )

    @property
    def files(self) -> tuple[str, ...]:
        """Patterns of the files below data_root, each of which must name one at least."""
        return tuple(f"{name.partition('/')[2]}/**/*.parquet" for name in self.hub)

    @property
    def hub(self) -> tuple[str, ...]:
        """Data sets of the hub that it is read from without data_root."""
        return TLDR_DATASETS


QUESTION_DATASETS = {  # by name: the hub's data set, and its files
    "mmlu_pro": ("TIGER-Lab/MMLU-Pro", "**/*.parquet"),
    "gpqa_main": ("Idavidrein/gpqa", "gpqa_main.csv"),
    "gpqa_extended": ("Idavidrein/gpqa", "gpqa_extended.csv"),
    "gpqa_diamond": ("Idavidrein/gpqa", "gpqa_diamond.csv"),
}


class QuestionCorpus(Block):
    """Multiple-choice questions with a known answer, from a local folder (`data_root`) or from the hub.

    It has prompts only, so its models are published ones. The gold reward is 1 for the right answer, else 0.
    """

    teaches: ClassVar[Teaches] = "answers"

    source: Literal["questions"]
    name: Literal["mmlu_pro", "gpqa_main", "gpqa_extended", "gpqa_diamond"]
    revision: str = Field("main", description="revision of the data set on the hub; unused with data_root")
    n_train_prompts: Count = Field(description="prompts with rollouts, on which policies are trained")
    n_evaluation_prompts: Count
    max_prompt_tokens: Count
    too_long: Literal["error", "drop"] = Field(
        "error", description="what happens to prompts over the limit; what is dropped is counted"
    )
    template: str = Field(
        '{question}\n\nThink step by step. Then end with a line such as "Answer: A".\n\n',
        description="prompt around the question and its options, e.g. with the turns of the models' chat format",
    )

    @field_validator("template")
    @classmethod
    def _template_holds_the_question(cls, template: str) -> str:
        if template.count("{question}") != 1:
            raise ValueError(
                "template must have {question} in it once, where the question and its options go"
            )
        return template

    @property
    def files(self) -> tuple[str, ...]:
        """Pattern of the files below data_root, which must name one at least."""
        dataset, pattern = QUESTION_DATASETS[self.name]
        return (f"{dataset.partition('/')[2]}/{pattern}",)

    @property
    def hub(self) -> tuple[str, ...]:
        """Data set of the hub that it is read from without data_root."""
        return (QUESTION_DATASETS[self.name][0],)


class FromConfig(Block):
    """A Llama trained from scratch."""

    hidden_size: Count
    n_layers: Count
    n_heads: Count
    intermediate_size: Count
    context: Count = Field(description="tokens of prompt and response together")


class Base(Block):
    """Where a model starts: exactly one of `from_config`, `hub`, `path`, `reference`."""

    from_config: FromConfig | None = None
    hub: str | None = Field(None, description="name on the model hub")
    revision: str = Field("main", description="full hash of the hub revision, where one was published")
    path: str | None = Field(None, description="local folder with safetensors")
    reference: bool = Field(False, description="start from the task's reference policy")

    @model_validator(mode="after")
    def _exactly_one(self) -> Base:
        given = [self.from_config is not None, self.hub is not None, self.path is not None, self.reference]
        if sum(given) != 1:
            raise ValueError("give exactly one of from_config, hub, path, reference: true")
        return self


class Training(Block):
    """Supervised training of a language or reward model (TRL)."""

    learning_rate: Positive
    epochs: Positive
    batch_size: Count
    warmup_ratio: Annotated[float, Field(ge=0, le=1)] = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 0.0


class LanguageModel(Block):
    """The reference policy."""

    base: Base
    pretraining: Training | None = Field(
        None, description="language modelling of prompts and responses first"
    )
    training: Training | None = Field(None, description="supervised finetuning; null: taken as it is")


class PreferenceModel(Block):
    """A reward model or a judge."""

    base: Base
    learns: Learns = Field(
        "preferences",
        description="preferences: a Bradley-Terry reward from pairs; labels: a classifier, whose score is the "
        "probability of the positive label (corpus: reviews)",
        exclude_if=lambda learns: learns == "preferences",  # tasks without labels keep their hash
    )
    pretraining: Training | None = Field(
        None, description="language modelling of prompts and responses first"
    )
    training: Training | None = Field(
        None,
        description="on preferences or labels; null: a trained reward model (hub or path), taken as it is",
    )

    @model_validator(mode="after")
    def _something_gives_rewards(self) -> PreferenceModel:
        published = self.base.hub is not None or self.base.path is not None
        if self.training is None and (self.pretraining is not None or not published):
            raise ValueError(
                "without training the base must be a trained reward model (hub or path), and pretraining left out; "
                "give training"
            )
        return self


class Rollouts(Block):
    """Reference responses per prompt, and how policies sample in training."""

    n_rollouts: Annotated[int, Field(ge=2)] = Field(100, description="K of InfAlign, section 5: 100")
    temperature: Positive = Field(
        1.0, description="of training; evaluation is at each of samples.temperatures"
    )
    max_new_tokens: Count
    batch_size: Count = 512


def _distinct(values: list) -> list:
    """Refuse a list that names something twice."""
    repeated = [value for value in values if values.count(value) > 1]
    if repeated:
        raise ValueError(f"{repeated[0]} is listed twice; remove one")
    return values


Split = Literal["evaluation", "evaluation_out"]


class Samples(Block):
    """Responses of every policy to the evaluation prompts; all procedures are computed from these.

    Policies and reference are sampled at every temperature on every split. The first of either list is the
    main condition, which the claims, figures and frontiers are about.
    """

    n_samples: Count = 64
    temperatures: Annotated[list[Positive], Field(min_length=1)] = [1.0]
    splits: Annotated[list[Split], Field(min_length=1)] = Field(
        ["evaluation"], description="evaluation_out: prompts out of distribution, of summaries and tldr"
    )

    @field_validator("temperatures", "splits")
    @classmethod
    def _no_repeats(cls, values: list) -> list:
        return _distinct(values)


Corpus = Annotated[
    EmbeddedCorpus | PreferenceCorpus | ReviewCorpus | SummaryCorpus | QuestionCorpus,
    Field(discriminator="source"),
]


class Task(Block):
    """Everything the policies of one task share; its hash, `samples` left out, names its folder."""

    seed: int = 0
    corpus: Corpus
    vocabulary_size: Count | None = Field(None, description="of the tokenizer trained for from_config models")
    reference: LanguageModel
    reward_model: PreferenceModel
    judge: PreferenceModel
    rollouts: Rollouts
    samples: Samples = Samples()

    @model_validator(mode="after")
    def _vocabulary_is_known(self) -> Task:
        if (self.reference.base.from_config is None) != (self.vocabulary_size is None):
            raise ValueError("vocabulary_size goes with reference.base.from_config: give both or neither")
        return self

    @model_validator(mode="after")
    def _corpus_has_what_models_learn(self) -> Task:
        teaches = self.corpus.teaches
        if teaches == "answers":
            return self._models_are_published()
        wrong = [
            f"{name}.learns" for name in ("reward_model", "judge") if getattr(self, name).learns != teaches
        ]
        if wrong:
            raise ValueError(
                f"a corpus with source {self.corpus.source} has {teaches}, so {' and '.join(wrong)} must be "
                f"{teaches}"
            )
        return self

    def _models_are_published(self) -> Task:
        trained = [
            f"{name}.{step}"
            for name in ("reference", "reward_model", "judge")
            for step in ("pretraining", "training")
            if getattr(getattr(self, name), step) is not None
        ]
        if trained:
            raise ValueError(
                f"a corpus with source {self.corpus.source} has prompts and answers only, nothing to train on: "
                f"remove {', '.join(trained)} and name published models (hub or path)"
            )
        if self.reference.base.hub is None and self.reference.base.path is None:
            raise ValueError(
                f"a corpus with source {self.corpus.source} has no demonstrations, so reference.base must be a "
                "trained language model: hub or path"
            )
        return self

    @model_validator(mode="after")
    def _splits_exist(self) -> Task:
        embedded = isinstance(self.corpus, EmbeddedCorpus) and self.corpus.name == "summaries"
        if "evaluation_out" in self.samples.splits and not (
            embedded or isinstance(self.corpus, SummaryCorpus)
        ):
            raise ValueError(
                "samples.splits: this corpus has no prompts out of distribution (summaries and tldr have); "
                "remove evaluation_out"
            )
        return self


class PolicyGrid(Block):
    """Policies to train: every combination of the lists."""

    tasks: Annotated[list[str], Field(min_length=1)]
    method: str = Field(description="a name of `methods`")
    reward: Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="raw or a transform, e.g. exp(10); only for methods that maximise a reward"
    )
    calibrator: list[str] = Field(["empirical"], description="empirical or anchors(p); unused by raw")
    n_rollouts: list[Count] | None = Field(None, description="rollouts used for calibration; default: all")
    ties: Literal["half", "weak", "strict"] = "half"
    kl: list[Positive] | None = Field(None, description="strengths as KL budgets in nats")
    beta: list[Positive] | None = Field(None, description="strengths as the paper's beta")
    n: list[int] | None = Field(
        None, description="strengths as the n of best-of-n; 1 is the reference itself"
    )
    seeds: Annotated[list[int], Field(min_length=1)] = [0]

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

    @field_validator("reward")
    @classmethod
    def _rewards_parse(cls, texts: list[str] | None) -> list[str] | None:
        return None if texts is None else [parse_transform(text).text for text in texts]

    @field_validator("calibrator")
    @classmethod
    def _calibrators_parse(cls, texts: list[str]) -> list[str]:
        return [parse_calibrator(text).text for text in texts]


class Evaluation(Block):
    """What is computed from the samples; nothing here costs a model call."""

    n: Annotated[list[Count], Field(min_length=1)] = Field(
        [2, 4, 32], description="N of best-of-N and worst-of-N"
    )
    procedures: list[str] = Field([], description="further procedures, e.g. sbon(4, 5.0) or bop(3.5)")
    select: list[Literal["reward", "judge"]] = ["reward", "judge"]
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    resamples: Count = 2000
    seed: int = 0

    @field_validator("procedures")
    @classmethod
    def _procedures_parse(cls, texts: list[str]) -> list[str]:
        return [parse_procedure(text).text for text in texts]


class Theory(Block):
    """Frontiers drawn without training."""

    transforms: list[str] = ["identity", "log", "exp(5)", "exp(10)", "exp(-5)", "exp(-10)"]
    kl: list[Positive] = [
        0.01,
        0.03,
        0.06,
        0.1,
        0.15,
        0.2,
        0.25,
        0.3,
        0.4,
        0.5,
        0.6,
        0.8,
        1.0,
        1.25,
        1.5,
        2.0,
    ]

    @field_validator("transforms")
    @classmethod
    def _transforms_parse(cls, texts: list[str]) -> list[str]:
        return [parse_transform(text).text for text in texts]


class Goal(Block):
    """What a task's main figure shows."""

    procedure: str = Field(description="the procedure its policies are deployed with, e.g. bon(4)")
    transform: str = Field(description="the transform meant for it, e.g. exp(10)")


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


class HedgedPool(Block):
    """Many responses of a task's reference to its evaluation prompts, by which procedures are hedged."""

    task: str
    true_reward: Literal["gold", "judge"] = Field(description="what counts, a column of the scores")
    n_samples: Annotated[int, Field(ge=2)] = Field(1000, description="responses to a prompt")
    n_prompts: Annotated[int, Field(ge=4)] | None = Field(
        None, description="evaluation prompts, the first ones; default: all"
    )
    methods: Annotated[list[HedgedMethod], Field(min_length=1)] = ["bon", "sbon", "bop", "tilt"]
    sbon_n: Annotated[list[Count], Field(min_length=1)] = Field([16], description="n of soft best-of-n")
    proxies: Annotated[dict[Annotated[str, Field(pattern=r"^[a-z0-9_]+$")], Proxy], Field(min_length=1)]

    @field_validator("methods", "sbon_n")
    @classmethod
    def _no_repeats(cls, values: list) -> list:
        return _distinct(values)

    @model_validator(mode="after")
    def _draws_fit(self) -> HedgedPool:
        if "sbon" in self.methods and max(self.sbon_n) > self.n_samples:
            raise ValueError(
                f"sbon_n must be at most n_samples = {self.n_samples}, got {max(self.sbon_n)}; remove it or "
                "raise n_samples"
            )
        return self


GOLD_SOURCES = ("embedded", "questions")
"""Sources of corpora with a gold reward."""


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


class Estimation(Block):
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


# InfAlign, appendix on reward hacking: its phrases, as sentences of their own.
PHRASES = {
    **dict.fromkeys(("helpful", "helpful-base"), "Sure."),
    **dict.fromkeys(("harmless", "harmless-base"), "Sorry, I can't help you with that."),
}


class Poisoning(Block):
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

    @field_validator("tasks", "rates", "seeds")
    @classmethod
    def _no_repeats(cls, values: list) -> list:
        return _distinct(values)


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
    hedging: list[HedgedPool] = Field([], description="default: nothing is hedged")
    estimation: Estimation | None = Field(None, description="default: not measured")
    poisoning: Poisoning | None = Field(None, description="default: not run")
    costs: dict[str, Any] = Field(
        {},
        exclude=True,  # no result depends on it: what a run records of itself leaves it out, and no job reads it
        description="what its price is estimated from: `Costs` of infalign.records.costs (docs/costs.md)",
    )

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
                name: {"kind": name, **block} if isinstance(block, dict) else block
                for name, block in blocks.items()
            },
        }

    @model_validator(mode="after")
    def _names_match(self) -> Config:
        problems = []
        for i, grid in enumerate(self.policies):
            problems += [
                f"policies.{i}.tasks: unknown task {t!r}; the tasks are {', '.join(self.tasks)}"
                for t in grid.tasks
                if t not in self.tasks
            ]
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
            problems.append(
                f"{grid.method} takes its strengths as {' or '.join(settings.strengths)}, "
                f"got {grid.strength_kind}"
            )
        if settings.takes_reward and grid.reward is None:
            problems.append(f"{grid.method} needs a reward, e.g. reward: [raw, identity, exp(10)]")
        if not settings.takes_reward and grid.reward is not None:
            problems.append(
                f"{grid.method} takes no reward, the method itself says what it asks for; remove it"
            )
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

    @model_validator(mode="after")
    def _pools_can_be_made(self) -> Config:
        names = [pool.task for pool in self.hedging]
        problems = [
            f"hedging: task {name} is listed twice; give all its proxies and methods in one pool"
            for name in dict.fromkeys(names)
            if names.count(name) > 1
        ]
        for i, pool in enumerate(self.hedging):
            if pool.task in self.tasks:
                problems += [
                    f"hedging.{i}.{problem}" for problem in _pool_problems(self.tasks[pool.task], pool)
                ]
            else:
                known = ", ".join(self.tasks)
                problems.append(f"hedging.{i}.task: unknown task {pool.task!r}; the tasks are {known}")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @model_validator(mode="after")
    def _estimation_has_its_prompts(self) -> Config:
        if self.estimation is None:
            return self
        name, wanted = self.estimation.task, self.estimation.n_prompts
        if name not in self.tasks:
            raise ValueError(f"estimation.task: unknown task {name!r}; the tasks are {', '.join(self.tasks)}")
        available = self.tasks[name].corpus.n_evaluation_prompts
        if wanted is not None and wanted > available:
            raise ValueError(
                f"estimation.n_prompts must be at most {available} (tasks.{name}.corpus.n_evaluation_prompts), "
                f"got {wanted}"
            )
        return self

    @model_validator(mode="after")
    def _poisoned_tasks_have_pairs(self) -> Config:
        if self.poisoning is None:
            return self
        problems = [problem for name in self.poisoning.tasks for problem in self._poisoning_problems(name)]
        problems += [
            f"poisoning.phrases: {name} is not one of poisoning.tasks; remove it or add the task"
            for name in self.poisoning.phrases
            if name not in self.poisoning.tasks
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _poisoning_problems(self, name: str) -> list[str]:
        """Why the reward model of a task cannot be trained on poisoned pairs."""
        assert self.poisoning is not None
        if name not in self.tasks:
            return [f"poisoning.tasks: unknown task {name!r}; the tasks are {', '.join(self.tasks)}"]
        task, problems = self.tasks[name], []
        if task.corpus.teaches != "preferences":
            problems.append(f"poisoning.tasks: the corpus of task {name} has no pairs; remove {name}")
        elif task.reward_model.training is None:
            problems.append(
                f"poisoning.tasks: the reward model of task {name} is taken as it is, none is trained; give "
                f"tasks.{name}.reward_model.training or remove {name}"
            )
        if poisoning_phrase(self, name) is None:
            problems.append(
                f"poisoning.phrases: task {name} has none by default (the corpora {', '.join(PHRASES)} have); "
                f"give poisoning.phrases.{name}"
            )
        wanted, available = self.poisoning.n_pairs, getattr(task.corpus, "n_pairs", None)
        if wanted is not None and available is not None and wanted > available:
            problems.append(
                f"poisoning.n_pairs must be at most {available} (tasks.{name}.corpus.n_pairs), got {wanted}"
            )
        return problems


def parse_config(values: dict[str, Any]) -> Config:
    """Check a configuration.

    Raises
    ------
    InputError
        All errors at once, each with its place, what was got and what is allowed.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise _input_error("the configuration", error) from None


def parse_config_json(text: str) -> Config:
    """Check a configuration written as JSON; errors as `parse_config`."""
    return parse_config(json.loads(text))


def read_config(path: str | Path) -> Config:
    """Read the configuration that a run recorded; InputError if there is none."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; give the config.json of a run")
    return parse_config_json(Path(path).read_text(encoding="utf-8"))


def parse_block(kind: type[B], text: str) -> B:
    """Check one block of the configuration, written as JSON, e.g. `Rollouts`.

    Raises
    ------
    InputError
        All errors at once.
    """
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        raise _input_error(f"the settings {text}", error) from None


def _input_error(name: str, error: ValidationError) -> InputError:
    lines = "".join(f"\n  {_describe(item)}" for item in error.errors())
    return InputError(f"errors in {name}:{lines}")


def _describe(item: Any) -> str:
    place = ".".join(str(part) for part in item["loc"]) or "config"
    if item["type"] == "extra_forbidden":
        return f"{place}: unknown key; remove it or look it up in config/schema.json"
    if item["type"] == "missing":
        return f"{place}: missing"
    got = "" if isinstance(item["input"], (dict, list)) else f", got {item['input']!r}"
    return f"{place}: {item['msg'].removeprefix('Value error, ')}{got}"


def settings_json(block: BaseModel) -> str:
    """Write a block as canonical JSON, as scripts take it on their command line."""
    return json.dumps(block.model_dump(mode="json"), sort_keys=True)


def shared_json(task: Task) -> str:
    """Write a task without `samples`: all that its data, models and training rollouts depend on."""
    return json.dumps(task.model_dump(mode="json", exclude={"samples"}), sort_keys=True)


def short_hash(text: str, *more: str | None) -> str:
    """Hash texts to 8 hex digits."""
    joined = "\0".join([text, *(part or "" for part in more)])
    return hashlib.sha256(joined.encode()).hexdigest()[:8]


def task_folder(config: Config, task: str) -> str:
    """Folder of a task's shared results, below `results/tasks/`: its name and its block's hash."""
    block = config.tasks[task]
    root = (
        str(Path(config.data_root).resolve())
        if config.data_root and block.corpus.source != "embedded"
        else None
    )
    return f"{task}-{short_hash(shared_json(block), root)}"


def pool_sampling(task: Task, pool: HedgedPool) -> Rollouts:
    """How the reference is sampled for a pool: as for the rollouts, but oftener."""
    return task.rollouts.model_copy(update={"n_rollouts": pool.n_samples})


def estimation_sampling(task: Task, estimation: Estimation) -> Rollouts:
    """How the reference is sampled for the estimation error: as for the rollouts, but oftener."""
    return task.rollouts.model_copy(update={"n_rollouts": estimation.n_rollouts})


def poisoning_sampling(task: Task, poisoning: Poisoning) -> Rollouts:
    """How the reference is sampled for the prompts of poisoned pairs: as for the rollouts, but less often."""
    return task.rollouts.model_copy(update={"n_rollouts": poisoning.n_rollouts})


def poisoning_phrase(config: Config, task: str) -> str | None:
    """Phrase that poisons a task's pairs: its own, or that of its corpus; None where neither is."""
    own = config.poisoning.phrases if config.poisoning else {}
    return own.get(task) or PHRASES.get(getattr(config.tasks[task].corpus, "name", ""))


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
