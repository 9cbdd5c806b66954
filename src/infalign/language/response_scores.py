"""Scores of a stored table of responses, read in blocks, so that few texts are in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from infalign.language.answers import answer_letter
from infalign.language.embedded import gold_reward
from infalign.language.models import encode_prompts, load_language_model
from infalign.language.scoring_engines import reward_scorer
from infalign.language.sequence_statistics import sequence_statistics
from infalign.records.corpus import CorpusBlock, EmbeddedCorpus
from infalign.records.tables import BLOCK_ROWS, column_names, read_blocks, read_manifest, read_table
from infalign.records.task import Engine

READ = ("prompt_id", "response", "tokens", "finished")


@dataclass(frozen=True)
class ResponseTable:
    """A table of responses with their prompts.

    Attributes
    ----------
    prompts : polars.DataFrame
        Columns `prompt_id`, `prompt`; where it has `answer`, the gold reward is 1 for that answer, else 0.
    block_rows : int
        Responses read at once. The rounding of a score depends on them, as they share batches.
    """

    path: Path
    prompts: pl.DataFrame
    block_rows: int = BLOCK_ROWS

    def blocks(self, *columns: str) -> Iterator[pl.DataFrame]:
        """Read these columns of the responses with their prompts."""
        for block in read_blocks(self.path, ["prompt_id", *columns], self.block_rows):
            yield block.join(self.prompts, on="prompt_id", how="left", maintain_order="left")


def response_table(path: Path, prompts: Path) -> ResponseTable:
    """Responses and prompts of two tables; responses that shared batches when drawn are read together."""
    made = read_manifest(path)
    together = made["prompts_at_once"] * made["settings"]["n_rollouts"] if "prompts_at_once" in made else None
    texts = read_table(prompts, ["prompt_id", "prompt"]).select("prompt_id", "prompt", "^answer$")
    return ResponseTable(path, texts, together or BLOCK_ROWS)


def score_table(
    responses: ResponseTable, reward_model: Path, judge: Path, corpus: CorpusBlock, engine: Engine
) -> pl.DataFrame:
    """Columns `reward`, `judge` and `gold` (null where there is none) of the responses, in their order."""
    column_names(responses.path, READ)
    models = {"reward": reward_model, "judge": judge}
    scores = pl.DataFrame({name: _model_scores(responses, folder, engine) for name, folder in models.items()})
    return scores.with_columns(_gold_scores(responses, corpus))


def _model_scores(responses: ResponseTable, folder: Path, engine: Engine) -> np.ndarray:
    """Score of each response by a reward model, which is in memory for as long as this takes."""
    with reward_scorer(folder, engine) as score_of:
        parts = [
            score_of(block["prompt"].to_list(), block["response"].to_list(), block["finished"].to_list())
            for block in responses.blocks("response", "finished")
        ]
    return np.concatenate(parts)


def _gold_scores(responses: ResponseTable, corpus: CorpusBlock) -> pl.Series:
    """Gold reward of each response; null where the corpus has none."""
    parts = [_gold_of_block(corpus, block) for block in responses.blocks("response")]
    return pl.Series("gold", [score for part in parts for score in part], pl.Float64)


def _gold_of_block(corpus: CorpusBlock, block: pl.DataFrame) -> list[float | None]:
    if "answer" in block.columns:
        answers = block.select("answer", "response").iter_rows()
        return [None if right is None else float(answer_letter(text) == right) for right, text in answers]
    if not isinstance(corpus, EmbeddedCorpus):
        return [None] * block.height
    null = corpus.variant == "null"
    texts = block.select("prompt", "response").iter_rows()
    return [gold_reward(corpus.name, *pair, null=null) for pair in texts]


def answer_counts(responses: ResponseTable) -> dict[str, int]:
    """Where the prompts have right answers, how many responses give none; for a manifest."""
    if "answer" not in responses.prompts.columns:
        return {}
    letters = (answer_letter(text) for block in responses.blocks("response") for text in block["response"])
    return {"responses_without_answer": sum(letter is None for letter in letters)}


def policy_divergence(responses: ResponseTable, policy: Path, reference: Path, temperature: float) -> pl.DataFrame:
    """Log-probability under the reference and full-vocabulary KL of each response, in nats."""
    model, tokenizer = load_language_model(policy)
    other, _ = load_language_model(reference)
    parts = []
    for block in responses.blocks("tokens"):
        prompts = encode_prompts(tokenizer, block["prompt"].to_list())
        tokens = block["tokens"].to_list()
        statistics = sequence_statistics(model, other, prompts, tokens, temperature=temperature)
        parts.append(pl.DataFrame({"reference_log_prob": statistics.reference_log_prob, "kl": statistics.kl}))
    return pl.concat(parts)
