"""Blocks of the configuration that say where prompts, pairs and labels come from."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from infalign.records.block import Block, Count

Teaches = Literal["preferences", "labels", "answers"]
TooLong = Literal["error", "drop", "truncate_left"]


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
    n_evaluation_prompts: Count = Field(description="of each split: summaries has them out of distribution too")
    n_pairs: Count = Field(description="training pairs of the reward model and, apart from them, of the judge")
    n_test_pairs: Count = Field(description="held-out pairs of each")


HH_SUBSETS = ("helpful-base", "harmless-base")


class PreferenceCorpus(Block):
    """Preference pairs in the form of Anthropic HH, from a local folder (`data_root`) or HH itself from the hub."""

    teaches: ClassVar[Teaches] = "preferences"

    source: Literal["preferences"]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")] = Field(
        description="folder below data_root with *.jsonl.gz; from the hub one of HH_SUBSETS"
    )
    revision: str = Field("main", description="revision of Anthropic/hh-rlhf on the hub; unused with data_root")
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
    revision: str = Field("main", description="revision of stanfordnlp/imdb on the hub; unused with data_root")
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
            raise ValueError(f"prompt_words are the fewest and the most, got [{fewest}, {most}]; exchange them")
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
            raise ValueError("template must have {question} in it once, where the question and its options go")
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


CorpusBlock = Annotated[
    EmbeddedCorpus | PreferenceCorpus | ReviewCorpus | SummaryCorpus | QuestionCorpus,
    Field(discriminator="source"),
]
GOLD_SOURCES = ("embedded", "questions")
"""Sources of corpora with a gold reward."""
