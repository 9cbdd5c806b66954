"""Score responses with the reward model, the judge and, where it exists, the gold reward."""

from pathlib import Path

import polars as pl

from infalign.language import response_scores
from infalign.language.vllm_process import engine_versions
from infalign.records.block import parse_block
from infalign.records.command import run_command
from infalign.records.corpus import CorpusBlock
from infalign.records.shards import SCORERS, agreements
from infalign.records.tables import KEY, read_manifest, read_table, weights_sha256, write_table
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
    keys, made = read_table(responses, KEY, also=()), read_manifest(responses)
    stored = response_scores.response_table(responses, prompts)
    scores = response_scores.score_table(stored, reward_model, judge, parse_block(CorpusBlock, corpus), engine)
    if policy is not None and reference is not None:
        scores = scores.hstack(response_scores.policy_divergence(stored, policy, reference, temperature))
    facts: dict[str, object] = {"agreement": agreements(keys.hstack(scores.select(SCORERS)))}
    facts |= {"model_sha256": made["model_sha256"]}
    facts |= {"reward_model_sha256": weights_sha256(reward_model), "judge_sha256": weights_sha256(judge)}
    facts |= engine_versions(engine) | response_scores.answer_counts(stored)
    kept = pl.scan_parquet(responses).drop(scores.columns, strict=False)
    write_table(pl.concat([kept, scores.lazy()], how="horizontal"), out, facts)


if __name__ == "__main__":
    run_command(score)
