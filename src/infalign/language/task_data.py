"""The data of one task: its corpus within limits, and its tokenizer."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedTokenizerBase

from infalign.errors import InputError
from infalign.language.context import fit_to_context, take_prompts, take_reviews
from infalign.language.corpora import Corpus
from infalign.language.embedded import embedded_corpus
from infalign.language.models import load_tokenizer, train_tokenizer
from infalign.language.preferences import read_preferences
from infalign.language.questions import read_questions
from infalign.language.reviews import read_reviews
from infalign.language.tldr import read_summaries
from infalign.records.corpus import EmbeddedCorpus, QuestionCorpus, ReviewCorpus, SummaryCorpus
from infalign.records.task import Task

CHARACTERS_PER_TOKEN = 6  # prose has 3 to 5: of a review so many are read, which is more than fits


def task_corpus(task: Task, data_root: Path | None) -> tuple[Corpus, dict[str, int]]:
    """Write or read the corpus of a task, before any limit in tokens, and count rows read, kept and dropped.

    Real data are in the local folder `data_root`; None reads them from the hub.
    """
    block, seed = task.corpus, task.seed
    if isinstance(block, EmbeddedCorpus):
        corpus = embedded_corpus(block, seed)
        return corpus, {name: getattr(corpus, name).height for name in ("demonstrations", "pairs", "prompts")}
    if isinstance(block, ReviewCorpus):
        return read_reviews(
            data_root=data_root,
            revision=block.revision,
            seed=seed,
            prompt_words=block.prompt_words,
            max_characters=CHARACTERS_PER_TOKEN * block.max_response_tokens,
        )
    if isinstance(block, SummaryCorpus):
        revisions = block.revision, block.pairs_revision
        return read_summaries(block.subreddits, data_root=data_root, revisions=revisions, seed=seed)
    if isinstance(block, QuestionCorpus):
        return read_questions(
            block.name, template=block.template, data_root=data_root, revision=block.revision, seed=seed
        )
    return read_preferences(block.name, data_root=data_root, revision=block.revision, seed=seed)


def within_limits(corpus: Corpus, task: Task, tokenizer: PreTrainedTokenizerBase) -> tuple[Corpus, dict[str, int]]:
    """Keep of a real corpus what fits the limits in tokens, and of it as many rows as are asked for; count the others.

    An embedded corpus has neither limits nor further rows and stays as it is.
    """
    block = task.corpus
    if isinstance(block, EmbeddedCorpus):
        return corpus, {}
    longest = 1 if isinstance(block, QuestionCorpus) else block.max_response_tokens  # questions: no responses
    corpus, counts = fit_to_context(corpus, tokenizer, block.max_prompt_tokens, longest, block.too_long)
    corpus = take_prompts(corpus, block.n_train_prompts, block.n_evaluation_prompts)
    if isinstance(block, ReviewCorpus):
        corpus = take_reviews(corpus, block.n_demonstrations, block.n_labelled, block.n_test_labelled)
    return corpus, counts


def task_tokenizer(task: Task, corpus: Corpus) -> PreTrainedTokenizerBase:
    """Train the tokenizer of a model from scratch, or load that of a pretrained one."""
    if task.vocabulary_size is not None:  # exactly where the reference is made from_config
        frame = corpus.demonstrations
        return train_tokenizer((frame["prompt"] + frame["response"]).to_list(), task.vocabulary_size)
    published = task.reference.base.published
    if published is None:
        raise InputError("reference.base must be from_config, hub or path, got reference: true; name a model")
    return load_tokenizer(*published)
