"""Score responses with the reward model, the judge and, where it exists, the gold reward."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl

from infalign.language.answers import answer_letter
from infalign.language.embedded import gold_reward
from infalign.language.models import encode_prompts, load_language_model
from infalign.language.scoring import sequence_statistics
from infalign.language.scoring_engines import reward_scorer
from infalign.language.vllm_process import engine_versions
from infalign.records.command import run_command
from infalign.records.config import parse_block
from infalign.records.corpus import CorpusBlock, EmbeddedCorpus
from infalign.records.shards import SCORERS, agreements
from infalign.records.tables import (
    KEY,
    column_names,
    read_blocks,
    read_manifest,
    read_table,
    weights_sha256,
    write_table,
)
from infalign.records.task import Engine

READ = ("response", "tokens", "finished")
Blocks = Callable[..., Iterator[pl.DataFrame]]  # responses with their prompts, and the further columns named


def score(
    responses: Path,
    prompts: Path,
    /,
    *,
    reward_model: Path,
    judge: Path,
    corpus: str,
    out: Path,
    policy: Path | None = None,
    reference: Path | None = None,
    temperature: float = 1.0,
    engine: Engine = "transformers",
) -> None:
    """Add scores to a table of responses.

    Parameters
    ----------
    responses : table of responses.
    prompts : table of prompts; where it has a column `answer`, the gold reward is 1 for that answer, else 0.
    reward_model : folder of the reward model.
    judge : folder of the judge.
    corpus : JSON of the configuration's block `corpus`; an embedded corpus has a gold reward.
    out : table to write.
    policy : folder of the policy that wrote the responses; adds its divergence from `reference`.
    reference : folder of the reference policy.
    temperature : at which the policy was sampled.
    engine : what runs reward model and judge; the divergence is always from transformers.
    """
    keys = read_table(responses, KEY, also=())
    column_names(responses, READ)
    texts = read_table(prompts, ["prompt_id", "prompt"]).select("prompt_id", "prompt", "^answer$")
    made = read_manifest(responses)
    together = (
        {"rows": made["prompts_at_once"] * made["settings"]["n_rollouts"]}
        if "prompts_at_once" in made
        else {}
    )

    def blocks(*columns: str) -> Iterator[pl.DataFrame]:
        for block in read_blocks(responses, ["prompt_id", *columns], **together):
            yield block.join(texts, on="prompt_id", how="left", maintain_order="left")

    models = {"reward": reward_model, "judge": judge}
    scores = pl.DataFrame({name: model_scores(folder, engine, blocks) for name, folder in models.items()})
    scores = scores.with_columns(gold_scores(parse_block(CorpusBlock, corpus), blocks))
    if policy is not None and reference is not None:
        scores = scores.hstack(divergence(policy, reference, temperature, blocks))
    facts: dict[str, object] = {"agreement": agreements(keys.hstack(scores.select(SCORERS)))}
    facts |= {"model_sha256": made["model_sha256"]}
    facts |= {"reward_model_sha256": weights_sha256(reward_model), "judge_sha256": weights_sha256(judge)}
    facts |= engine_versions(engine)
    if "answer" in texts.columns:
        letters = (answer_letter(text) for block in blocks("response") for text in block["response"])
        facts |= {"responses_without_answer": sum(letter is None for letter in letters)}
    scored = [pl.scan_parquet(responses).drop(scores.columns, strict=False), scores.lazy()]
    write_table(pl.concat(scored, how="horizontal"), out, facts)


def model_scores(folder: Path, engine: Engine, blocks: Blocks) -> np.ndarray:
    """Score of each response by a reward model, which is in memory for as long as this takes."""
    with reward_scorer(folder, engine) as score_of:
        parts = [
            score_of(block["prompt"].to_list(), block["response"].to_list(), block["finished"].to_list())
            for block in blocks("response", "finished")
        ]
    return np.concatenate(parts)


def gold_scores(corpus: CorpusBlock, blocks: Blocks) -> pl.Series:
    """Gold reward of each response; null where the corpus has none."""
    parts = [gold_of_block(corpus, block) for block in blocks("response")]
    return pl.Series("gold", [score for part in parts for score in part], pl.Float64)


def gold_of_block(corpus: CorpusBlock, block: pl.DataFrame) -> list[float | None]:
    """Gold reward of each response of a block."""
    if "answer" in block.columns:
        answers = block.select("answer", "response").iter_rows()
        return [None if right is None else float(answer_letter(text) == right) for right, text in answers]
    if not isinstance(corpus, EmbeddedCorpus):
        return [None] * block.height
    null = corpus.variant == "null"
    texts = block.select("prompt", "response").iter_rows()
    return [gold_reward(corpus.name, *pair, null=null) for pair in texts]


def divergence(policy: Path, reference: Path, temperature: float, blocks: Blocks) -> pl.DataFrame:
    """Log-probability under the reference and full-vocabulary KL of each response, in nats."""
    model, tokenizer = load_language_model(policy)
    other, _ = load_language_model(reference)
    parts = []
    for block in blocks("tokens"):
        prompts = encode_prompts(tokenizer, block["prompt"].to_list())
        found = sequence_statistics(model, other, prompts, block["tokens"].to_list(), temperature=temperature)
        parts.append(pl.DataFrame({"reference_log_prob": found.reference_log_prob, "kl": found.kl}))
    return pl.concat(parts)


if __name__ == "__main__":
    run_command(score)
