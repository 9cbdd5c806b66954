"""Make a task's demonstrations, preference pairs or labels, prompts and tokenizer."""

from pathlib import Path

from transformers import PreTrainedTokenizerBase

from infalign.language.context import TABLES, fit_to_context, take_prompts, take_reviews
from infalign.language.corpora import Corpus
from infalign.language.embedded import SUMMARIES, corpus
from infalign.language.models import load_tokenizer, train_tokenizer
from infalign.language.preferences import read_preferences
from infalign.language.questions import read_questions
from infalign.language.reviews import read_reviews
from infalign.language.tldr import read_summaries
from infalign.records.block import parse_block
from infalign.records.command import run_command
from infalign.records.corpus import (
    EmbeddedCorpus,
    PreferenceCorpus,
    QuestionCorpus,
    ReviewCorpus,
    SummaryCorpus,
)
from infalign.records.tables import write_folder
from infalign.records.task import Task

CHARACTERS_PER_TOKEN = 6  # prose has 3 to 5: of a review so many are read, which is more than fits


def prepare_data(*, task: str, out: Path, data_root: Path | None = None) -> None:
    """Write the data of a task.

    Parameters
    ----------
    task : JSON of the configuration's block `tasks.<task>`, without `samples`.
    out : folder to write.
    data_root : local folder of the real data; without it they come from the hub.
    """
    block = parse_block(Task, task)
    texts, counts = read_corpus(block, data_root)
    tokenizer = task_tokenizer(block, texts)
    if not isinstance(block.corpus, EmbeddedCorpus):
        texts, dropped = within_limits(texts, block.corpus, tokenizer)
        counts |= dropped

    def write(folder: Path) -> None:
        folder.mkdir(parents=True)
        for name in TABLES:
            getattr(texts, name).write_parquet(folder / f"{name}.parquet")
        tokenizer.save_pretrained(folder / "tokenizer")

    write_folder(out, write, {"settings": block.corpus.model_dump(), "seed": block.seed, "counts": counts})


def read_corpus(task: Task, data_root: Path | None) -> tuple[Corpus, dict[str, int]]:
    """Write or read the corpus, before any limit in tokens, and count its rows."""
    block = task.corpus
    if isinstance(block, ReviewCorpus):
        return read_reviews(
            data_root=data_root,
            revision=block.revision,
            seed=task.seed,
            prompt_words=block.prompt_words,
            max_characters=CHARACTERS_PER_TOKEN * block.max_response_tokens,
        )
    if isinstance(block, SummaryCorpus):
        revisions = block.revision, block.pairs_revision
        return read_summaries(block.subreddits, data_root=data_root, revisions=revisions, seed=task.seed)
    if isinstance(block, QuestionCorpus):
        return read_questions(
            block.name, data_root=data_root, revision=block.revision, seed=task.seed, template=block.template
        )
    if not isinstance(block, EmbeddedCorpus):
        return read_preferences(block.name, data_root=data_root, revision=block.revision, seed=task.seed)
    sizes = block.model_dump(exclude={"source", "name", "variant"})
    if block.name == SUMMARIES:
        sizes["n_evaluation_out_prompts"] = block.n_evaluation_prompts
    texts = corpus(block.name, task.seed, **sizes, null=block.variant == "null")
    return texts, {name: getattr(texts, name).height for name in ("demonstrations", "pairs", "prompts")}


def within_limits(
    texts: Corpus,
    block: PreferenceCorpus | ReviewCorpus | SummaryCorpus | QuestionCorpus,
    tokenizer: PreTrainedTokenizerBase,
) -> tuple[Corpus, dict[str, int]]:
    """Keep what fits the limits in tokens, and of it as many rows as are asked for; count what is dropped."""
    longest = 1 if isinstance(block, QuestionCorpus) else block.max_response_tokens  # questions: no responses
    texts, counts = fit_to_context(texts, tokenizer, block.max_prompt_tokens, longest, block.too_long)
    texts = take_prompts(texts, block.n_train_prompts, block.n_evaluation_prompts)
    if isinstance(block, ReviewCorpus):
        texts = take_reviews(texts, block.n_demonstrations, block.n_labelled, block.n_test_labelled)
    return texts, counts


def task_tokenizer(task: Task, texts: Corpus) -> PreTrainedTokenizerBase:
    """Train the tokenizer of a model from scratch, or load that of a pretrained one."""
    base = task.reference.base
    if base.from_config is None:
        return load_tokenizer(base.hub or base.path, base.revision if base.hub else None)
    frame = texts.demonstrations
    return train_tokenizer((frame["prompt"] + frame["response"]).to_list(), task.vocabulary_size)


if __name__ == "__main__":
    run_command(prepare_data)
