"""Score responses by one more judge, and the judge on preference pairs."""

from pathlib import Path

import polars as pl
from tyro.conf import Positional

from infalign.errors import InputError
from infalign.language.reward_models import load_reward_model
from infalign.records.command import run_command
from infalign.records.tables import KEY, read_table, weights_sha256, write_table
from infalign.studies.judge_strength.scoring import judge_scores, ordered_pairs


def score_by_judge(
    responses: Positional[tuple[Path, ...]],
    *,
    names: tuple[str, ...],
    judge: Path,
    prompts: Path,
    pairs: Path,
    out: Path,
    pairs_out: Path,
    column: str | None = None,
) -> None:
    """Write a judge's score of every response, and which pairs it orders right.

    Parameters
    ----------
    responses : tables of scored responses.
    names : what each table is called in the one written, in its column `policy`.
    judge : folder of the judge.
    prompts : table of prompts.
    pairs : table of preference pairs: those held out for the judge, and as many that the reward model learnt from.
    out : table of scores to write.
    pairs_out : table of pairs to write.
    column : of the tables that holds this judge's scores already; default: the responses are scored.
    """
    if len(names) != len(responses):
        raise InputError(f"names: one for each table, got {len(names)} for {len(responses)}; give as many --names")
    model, tokenizer = load_reward_model(judge)
    texts = dict(read_table(prompts, ["prompt_id", "prompt"]).select("prompt_id", "prompt").iter_rows())
    parts = []
    for name, path in zip(names, responses, strict=True):
        if column is None:
            scores = judge_scores(model, tokenizer, texts, path)
        else:
            scores = read_table(path, [*KEY, column], also=()).select(*KEY, score=column)
        parts.append(scores.select(pl.lit(name).alias("policy"), *KEY, "score"))
    outcomes = ordered_pairs(model, tokenizer, read_table(pairs, ["prompt", "chosen", "rejected", "split"]))
    n_parameters = sum(weight.numel() for weight in model.parameters())
    facts = {"n_parameters": n_parameters, "judge_sha256": weights_sha256(judge)}
    write_table(pl.concat(parts), out, facts)
    write_table(outcomes, pairs_out, facts)


if __name__ == "__main__":
    run_command(score_by_judge)
