"""Make a task's demonstrations, preference pairs or labels, prompts and tokenizer."""

from pathlib import Path

from infalign.language.context import TABLES
from infalign.language.task_data import task_corpus, task_tokenizer, within_limits
from infalign.records.block import parse_block
from infalign.records.command import run_command
from infalign.records.tables import write_folder
from infalign.records.task import Task


def prepare_data(*, task: str, out: Path, data_root: Path | None = None) -> None:
    """Write the data of a task.

    Parameters
    ----------
    task : JSON of the configuration's block `tasks.<task>`, without `samples`.
    out : folder to write.
    data_root : local folder of the real data; without it they come from the hub.
    """
    block = parse_block(Task, task)
    corpus, counts = task_corpus(block, data_root)
    tokenizer = task_tokenizer(block, corpus)
    corpus, dropped = within_limits(corpus, block, tokenizer)

    def write(folder: Path) -> None:
        folder.mkdir(parents=True)
        for name in TABLES:
            getattr(corpus, name).write_parquet(folder / f"{name}.parquet")
        tokenizer.save_pretrained(folder / "tokenizer")

    facts = {"settings": block.corpus.model_dump(), "seed": block.seed, "counts": counts | dropped}
    write_folder(out, write, facts)


if __name__ == "__main__":
    run_command(prepare_data)
