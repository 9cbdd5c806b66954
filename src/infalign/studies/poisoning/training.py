"""Reward models that learn from poisoned pairs: pairwise, and pointwise to calibrated targets.

The paper says of its calibrated reward model that it "uses a pointwise loss", and no more. Left open are the loss, the
number of rollouts, and which responses it learns from; both readings of the last are trained here.

- ``calibrated_pairs``: the responses of the poisoned pairs themselves, what the pairwise model learns from too.
- ``calibrated_rollouts``: the reference's responses to the prompts of these pairs. They come from the policy that
  rewards are calibrated against, and do not have the phrase unless the reference writes it.

Both have the same targets: the quantile of the pairwise model's reward among the reference's responses to the prompt.
For a prompt that is an increasing map of the reward. A model that met its targets exactly would therefore order the
pairs of a prompt as the pairwise model does, poison included. What a pointwise model adds is how it generalises.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
import polars as pl
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from infalign.errors import InputError
from infalign.language.reward_models import reward_model_from
from infalign.language.scoring import pair_outcomes, reward_scores
from infalign.language.sources import prompt_id
from infalign.language.supervised import train_classifier, train_reward_model
from infalign.mathematics.calibration import empirical_calibration
from infalign.records.task import Training
from infalign.studies.poisoning.pairs import poison_test


def scored_rollouts(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rollouts: pl.DataFrame) -> pl.DataFrame:
    """Add the column `reward` to responses of the reference: `prompt`, `response`, `finished`."""
    prompts, responses, finished = (rollouts[name].to_list() for name in ("prompt", "response", "finished"))
    rewards = reward_scores(model, tokenizer, prompts, responses, finished=finished)
    return rollouts.with_columns(reward=pl.Series(rewards))


def targets_of_pairs(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: pl.DataFrame, rollouts: pl.DataFrame
) -> pl.DataFrame:
    """Calibrate the reward of each response of the pairs among the reference's responses to its own prompt.

    Parameters
    ----------
    rollouts : DataFrame
        Columns `prompt`, `reward` (of the same model); at least two rows for each prompt of the n pairs.

    Returns
    -------
    DataFrame
        Columns `prompt`, `response`, `label`: the calibrated reward in [0, 1], ties half. 2n rows, the chosen
        responses first.

    Raises
    ------
    InputError
        A prompt has no rollouts, or only one.

    References
    ----------
    Balashankar et al. 2025, InfAlign, section 5 (empirical calibration).
    """
    prompts = [*pairs["prompt"], *pairs["rejected_prompt"]]
    responses = [*pairs["chosen"], *pairs["rejected"]]
    rewards = reward_scores(model, tokenizer, prompts, responses)
    reference = {str(prompt): rows["reward"].to_numpy() for (prompt,), rows in rollouts.group_by("prompt")}
    absent = [prompt for prompt in prompts if prompt not in reference]
    if absent:
        raise InputError(
            f"prompt {absent[0]!r} has no rollouts to calibrate with ({len(absent)} responses have none); sample "
            "the reference for the prompts of these pairs"
        )
    labels = [
        empirical_calibration([reward], reference[prompt])[0] for prompt, reward in zip(prompts, rewards, strict=True)
    ]
    return pl.DataFrame({"prompt": prompts, "response": responses, "label": np.array(labels)})


def targets_of_rollouts(rollouts: pl.DataFrame) -> pl.DataFrame:
    """Calibrate the reward of each response of the reference among the others to the same prompt.

    Parameters
    ----------
    rollouts : DataFrame
        Columns `prompt`, `response`, `finished`, `reward`; at least two rows a prompt.

    Returns
    -------
    DataFrame
        Columns `prompt`, `response`, `label`: the calibrated reward in [0, 1], ties half, the response itself
        left out. Responses that were cut off calibrate the others and are not learnt from, so have no row.

    Raises
    ------
    InputError
        A prompt has one rollout only, or all rollouts were cut off.

    Examples
    --------
    >>> texts = {"prompt": ["Tea?"] * 3, "response": ["a", "b", "c"], "finished": [True, True, False]}
    >>> targets_of_rollouts(pl.DataFrame(texts | {"reward": [0.5, 0.25, 0.0]}))["label"].to_list()
    [1.0, 0.5]
    """
    if not rollouts["finished"].any():
        raise InputError(f"all {rollouts.height} rollouts were cut off; raise rollouts.max_new_tokens")
    parts = []
    for _, rows in rollouts.group_by("prompt", maintain_order=True):
        rewards = rows["reward"].to_numpy()
        labels = empirical_calibration(rewards, rewards, in_reference=np.ones(len(rewards), dtype=bool))
        parts.append(rows.with_columns(label=pl.Series(labels)))
    return pl.concat(parts).filter("finished").select("prompt", "response", "label")


def train_on_poisoned(
    start: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: pl.DataFrame,
    rollouts: pl.DataFrame,
    training: Training | None,
    *,
    seed: int,
) -> dict[str, PreTrainedModel]:
    """Train a Bradley-Terry reward model on poisoned pairs and two pointwise ones to its calibrated rewards.

    All three start from the same weights, heads included. The pointwise loss is cross-entropy on the quantile,
    whose minimum is the expected quantile; its batches hold as many sequences as those of pairs do.

    Parameters
    ----------
    start : PreTrainedModel
        Language model that the reward models start from; unchanged.
    pairs : DataFrame
        From `poison_training`.
    rollouts : DataFrame
        Responses of the reference to the prompts of the pairs: `prompt`, `response`, `finished`.
    seed : int
        Of the heads and of the order of the data.

    Returns
    -------
    dict
        Models by name: bradley_terry, calibrated_pairs, calibrated_rollouts.

    Raises
    ------
    InputError
        There is no training or no pair, a prompt has fewer than two rollouts, or a sequence is longer than the
        context.

    References
    ----------
    Balashankar et al. 2025, InfAlign, appendix on reward hacking.
    """
    if training is None:
        raise InputError("settings: the reward model has no training, so none can be poisoned; give training")
    pairwise = reward_model_from(start, tokenizer, seed=seed)
    train_reward_model(pairwise, tokenizer, pairs, training, seed=seed)
    scored = scored_rollouts(pairwise, tokenizer, rollouts)
    targets = {
        "calibrated_pairs": targets_of_pairs(pairwise, tokenizer, pairs, scored),
        "calibrated_rollouts": targets_of_rollouts(scored),
    }
    pointwise = training.model_copy(update={"batch_size": 2 * training.batch_size})
    models = {"bradley_terry": pairwise}
    for name, labels in targets.items():
        models[name] = reward_model_from(start, tokenizer, seed=seed, learns="labels")
        train_classifier(models[name], tokenizer, labels, pointwise, seed=seed)
    return models


def held_out_outcomes(
    models: Mapping[str, PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    pairs: pl.DataFrame,
    phrase: str,
) -> pl.DataFrame:
    """Say of each model and held-out pair, as it is and poisoned, whether the model orders it right.

    Returns
    -------
    DataFrame
        Columns `model`, `test_set` (clean or poisoned), `prompt_id` (of the chosen response's prompt), `right`
        (1, 0, or one half for equal scores); a row for each model, test set and pair.
    """
    ids = [prompt_id(prompt) for prompt in pairs["prompt"]]
    sets = {"clean": pairs, "poisoned": poison_test(pairs, phrase)}
    parts = []
    for (name, model), (test_set, rows) in product(models.items(), sets.items()):
        columns = {"model": name, "test_set": test_set, "prompt_id": ids}
        parts.append(pl.DataFrame({**columns, "right": pair_outcomes(model, tokenizer, rows)}))
    return pl.concat(parts)
