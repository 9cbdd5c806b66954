"""The block of one task: corpus, models, rollouts and samples, all that its policies share."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from infalign.records.block import Block, Count, Positive, distinct
from infalign.records.corpus import CorpusBlock, EmbeddedCorpus, SummaryCorpus
from infalign.records.shards import prompts_at_once

Learns = Literal["preferences", "labels"]
Engine = Literal["transformers", "vllm"]


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

    @property
    def published(self) -> tuple[str, str | None] | None:
        """Hub name with its revision, or local folder with None; None where the base is no published model."""
        if self.hub is not None:
            return self.hub, self.revision
        return None if self.path is None else (self.path, None)


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
    pretraining: Training | None = Field(None, description="language modelling of prompts and responses first")
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
    pretraining: Training | None = Field(None, description="language modelling of prompts and responses first")
    training: Training | None = Field(
        None,
        description="on preferences or labels; null: a trained reward model (hub or path), taken as it is",
    )

    @model_validator(mode="after")
    def _something_gives_rewards(self) -> PreferenceModel:
        if self.training is None and (self.pretraining is not None or self.base.published is None):
            raise ValueError(
                "without training the base must be a trained reward model (hub or path), and pretraining left out; "
                "give training"
            )
        return self


Shards = Annotated[
    int,
    Field(
        ge=1,
        exclude=True,  # no result depends on it: it is in no hash, and what a run records of itself leaves it out
        description="jobs that sample, and that score, a set of responses, each its share of the prompts",
    ),
]


class Rollouts(Block):
    """Reference responses per prompt, and how policies sample in training."""

    n_rollouts: Annotated[int, Field(ge=2)] = Field(100, description="K of InfAlign, section 5: 100")
    temperature: Positive = Field(1.0, description="of training; evaluation is at each of samples.temperatures")
    max_new_tokens: Count
    batch_size: Count = 512
    shards: Shards = 1
    engine: Engine = Field(
        "transformers",
        description="what samples and scores responses outside of training (docs/engines.md)",
        exclude_if=lambda engine: engine == "transformers",  # tasks that do not name one keep their hash
    )


Split = Literal["evaluation", "evaluation_out"]


class Samples(Block):
    """Responses of every policy to the evaluation prompts; all procedures are computed from these.

    Policies and reference are sampled at every temperature on every split. The first of either list is the
    main condition, which the claims, figures and frontiers are about. `policies` limits who is sampled under
    the others.
    """

    n_samples: Count = 64
    temperatures: Annotated[list[Positive], Field(min_length=1)] = Field([1.0])
    splits: Annotated[list[Split], Field(min_length=1)] = Field(
        ["evaluation"], description="evaluation_out: prompts out of distribution, of summaries and tldr"
    )
    policies: list[str] | None = Field(
        None,
        description="names as in the tables, e.g. ppo-raw-kl0.50-s0, of those sampled beyond the main condition; "
        "default: all",
    )
    shards: Shards = 1

    @field_validator("temperatures", "splits")
    @classmethod
    def _no_repeats(cls, values: list) -> list:
        return distinct(values)


class Task(Block):
    """Everything the policies of one task share; its hash, `samples` left out, names its folder."""

    seed: int = 0
    corpus: CorpusBlock
    vocabulary_size: Count | None = Field(None, description="of the tokenizer trained for from_config models")
    reference: LanguageModel
    reward_model: PreferenceModel
    judge: PreferenceModel
    rollouts: Rollouts
    samples: Samples = Samples()

    @property
    def reward_shape(self) -> FromConfig | None:
        """Shape of the reward model where it is trained from scratch or from such a reference."""
        base = self.reward_model.base
        return self.reference.base.from_config if base.reference else base.from_config

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
        models = {"reward_model": self.reward_model, "judge": self.judge}
        others = [f"{name}.learns" for name, model in models.items() if model.learns != teaches]
        if others:
            raise ValueError(
                f"a corpus with source {self.corpus.source} has {teaches}, so {' and '.join(others)} must be {teaches}"
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
        if self.reference.base.published is None:
            raise ValueError(
                f"a corpus with source {self.corpus.source} has no demonstrations, so reference.base must be a "
                "trained language model: hub or path"
            )
        return self

    @model_validator(mode="after")
    def _shards_have_prompts(self) -> Task:
        problems, sizes = [], (self.corpus.n_train_prompts, self.corpus.n_evaluation_prompts)
        for name, block, n_samples, n_prompts in (
            ("rollouts", self.rollouts, self.rollouts.n_rollouts, min(sizes)),
            ("samples", self.samples, self.samples.n_samples, sizes[1]),
        ):
            at_once = prompts_at_once(n_prompts, n_samples, self.rollouts.batch_size)
            most = math.ceil(n_prompts / at_once)
            if block.shards > most:
                problems.append(
                    f"{name}.shards must be at most {most}, got {block.shards}: the smallest split has {n_prompts} "
                    f"prompts, which are sampled {at_once} at a time"
                )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @model_validator(mode="after")
    def _splits_exist(self) -> Task:
        embedded = isinstance(self.corpus, EmbeddedCorpus) and self.corpus.name == "summaries"
        if "evaluation_out" in self.samples.splits and not (embedded or isinstance(self.corpus, SummaryCorpus)):
            raise ValueError(
                "samples.splits: this corpus has no prompts out of distribution (summaries and tldr have); "
                "remove evaluation_out"
            )
        return self
