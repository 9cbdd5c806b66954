"""Score responses with the reward model, the judge and, where it exists, the gold reward."""

from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl

from infalign.language.answers import answer_letter
from infalign.language.embedded import gold_reward
from infalign.language.models import encode_prompts, load_language_model
from infalign.language.scoring import sequence_statistics
from infalign.language.scoring_engines import reward_scorer
from infalign.language.vllm_process import engine_versions
from infalign.mathematics.statistics import pairwise_agreement
from infalign.records.command import run_command
from infalign.records.config import parse_block
from infalign.records.corpus import Corpus, EmbeddedCorpus
from infalign.records.tables import read_manifest, read_table, weights_sha256, write_table
from infalign.records.task import Engine


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
    columns = ["prompt_id", "sample_id", "response", "tokens", "finished"]
    frame = read_table(responses, columns)
    texts = read_table(prompts, ["prompt_id", "prompt"]).select("prompt_id", "prompt", "^answer$")
    frame = frame.join(texts, on="prompt_id", how="left", maintain_order="left")
    asked, answered = frame["prompt"].to_list(), frame["response"].to_list()
    for name, folder in (("reward", reward_model), ("judge", judge)):
        with reward_scorer(folder, engine) as score_of:
            scores = score_of(asked, answered, frame["finished"].to_list())
        frame = frame.with_columns(pl.Series(name, scores))
    frame = frame.with_columns(pl.Series("gold", gold_scores(parse_block(Corpus, corpus), frame), pl.Float64))
    if policy is not None and reference is not None:
        frame = frame.with_columns(divergence(frame, policy, reference, temperature))
    facts: dict[str, object] = {"agreement": agreements(frame)}
    facts |= {"model_sha256": read_manifest(responses)["model_sha256"]}
    facts |= {"reward_model_sha256": weights_sha256(reward_model), "judge_sha256": weights_sha256(judge)}
    facts |= engine_versions(engine)
    if "answer" in frame.columns:
        facts |= {"responses_without_answer": [answer_letter(text) for text in answered].count(None)}
    write_table(frame.drop("prompt", "^answer$"), out, facts)


def gold_scores(corpus: Corpus, frame: pl.DataFrame) -> list[float | None]:
    """Gold reward of each response; null where the corpus has none."""
    if "answer" in frame.columns:
        answers = frame.select("answer", "response").iter_rows()
        return [None if right is None else float(answer_letter(text) == right) for right, text in answers]
    if not isinstance(corpus, EmbeddedCorpus):
        return [None] * frame.height
    null = corpus.variant == "null"
    texts = frame.select("prompt", "response").iter_rows()
    return [gold_reward(corpus.name, *pair, null=null) for pair in texts]


def agreements(frame: pl.DataFrame) -> dict[str, float]:
    """How often two scorers order two responses to a prompt alike, for every pair of scorers."""
    scorers = [name for name in ("reward", "judge", "gold") if frame[name].null_count() == 0]
    groups = frame.group_by("prompt_id", maintain_order=True).agg(scorers)
    arrays = {name: np.array(groups[name].to_list()) for name in scorers}
    return {f"{a}_{b}": pairwise_agreement(arrays[a], arrays[b]) for a, b in combinations(scorers, 2)}


def divergence(frame: pl.DataFrame, policy: Path, reference: Path, temperature: float) -> list[pl.Series]:
    """Log-probability under the reference and full-vocabulary KL of each response, in nats."""
    model, tokenizer = load_language_model(policy)
    prompts = encode_prompts(tokenizer, frame["prompt"].to_list())
    statistics = sequence_statistics(
        model, load_language_model(reference)[0], prompts, frame["tokens"].to_list(), temperature=temperature
    )
    return [
        pl.Series("reference_log_prob", statistics.reference_log_prob),
        pl.Series("kl", statistics.kl),
    ]


if __name__ == "__main__":
    run_command(score)
