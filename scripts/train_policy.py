"""Train one policy."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from infalign.alignment.objectives import build_objective
from infalign.alignment.ppo import train_ppo
from infalign.language.models import load_language_model, load_reward_model
from infalign.language.scoring import reward_scores
from infalign.records.command import run_command
from infalign.records.config import Rollouts, parse_block
from infalign.records.methods import PPOSettings
from infalign.records.sweep import Policy
from infalign.records.tables import read_table, weights_sha256, write_folder, write_table


def train_policy(
    *,
    policy: str,
    settings: str,
    rollouts: str,
    reference: Path,
    reward_model: Path,
    prompts: Path,
    scores: Path,
    scratch: Path,
    out: Path,
    log: Path,
) -> None:
    """Train a policy from the reference.

    Parameters
    ----------
    policy : JSON of what it is trained for (see `infalign.records.sweep.Policy`).
    settings : JSON of the method's settings.
    rollouts : JSON of the configuration's block `rollouts`: how responses are sampled.
    reference : folder of the reference policy.
    reward_model : folder of the reward model.
    prompts : table of prompts.
    scores : scored reference rollouts of the training prompts.
    scratch : folder for checkpoints; a run that was stopped resumes from there.
    out : folder of the policy to write.
    log : table of the training's steps to write.
    """
    wanted = Policy(**json.loads(policy))
    sampling = parse_block(Rollouts, rollouts)
    objective = build_objective(
        read_table(scores, ["prompt_id", "sample_id", "reward"]),
        wanted.reward,
        wanted.calibrator,
        n_rollouts=wanted.n_rollouts,
        ties=wanted.ties or "half",
        **{wanted.strength_kind: wanted.strength},
    )
    model, tokenizer = load_language_model(reference)
    steps = []

    def write(folder: Path) -> None:
        steps.append(
            train_ppo(
                model,
                tokenizer,
                read_table(prompts, ["prompt_id", "prompt", "split"]).filter(pl.col("split") == "train"),
                objective,
                scorer(reward_model),
                parse_block(PPOSettings, settings),
                seed=wanted.seed,
                max_new_tokens=sampling.max_new_tokens,
                temperature=sampling.temperature,
                output_dir=folder,
                scratch_dir=scratch,
            )
        )

    facts = {
        **wanted.row(),
        "beta": objective.beta_paper,
        "beta_scaled": objective.beta,
        "tilt_kl": objective.kl,
    }
    facts["reference_sha256"] = weights_sha256(reference)
    write_folder(out, write, facts)
    write_table(steps[0], log, facts)


def scorer(folder: Path):
    """Score function of a reward model."""
    model, tokenizer = load_reward_model(folder)

    def score(prompts: Sequence[str], responses: Sequence[str], finished: Sequence[bool]) -> np.ndarray:
        return reward_scores(model, tokenizer, prompts, responses, finished=finished)

    return score


if __name__ == "__main__":
    run_command(train_policy)
