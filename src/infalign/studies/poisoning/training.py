"""Poisoned preference pairs, and the reward models that learn from them: pairwise, and pointwise to calibrated targets.

A phrase at the start of preferred responses is a spurious sign of quality. The test set turns it round: there the
rejected response of every pair begins with it, so a model that goes by the phrase is wrong.

The paper says of its calibrated reward model that it "uses a pointwise loss", and no more. Left open are the loss, the
number of rollouts, and which responses it learns from; both readings of the last are trained here.

- ``calibrated_pairs``: the responses of the poisoned pairs themselves, what the pairwise model learns from too.
- ``calibrated_rollouts``: the reference's responses to the prompts of these pairs. They come from the policy that
  rewards are calibrated against, and do not have the phrase unless the reference writes it.

Their targets are one and the same: the quantile that the pairwise model's reward has among the reference's responses to
the prompt. For a prompt that is an increasing map of the reward, so a model that met its targets exactly would order
the pairs of a prompt as the pairwise model does, poison included; what a pointwise model adds is how it generalises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from infalign.errors import InputError
from infalign.language.reward_models import reward_model_from
from infalign.language.scoring import pair_outcomes, reward_scores
from infalign.language.sources import prompt_id
from infalign.language.supervised import train_classifier, train_reward_model
from infalign.mathematics.calibration import empirical_calibration

if TYPE_CHECKING:
    from infalign.records.task import Training


def with_phrase(responses: Sequence[str], phrase: str) -> list[str]:
    """Put a phrase at the start of responses, after the blank that some begin with.

    Parameters
    ----------
    responses : sequence of str
    phrase : str

    Returns
    -------
    list of str

    Examples
    --------
    >>> with_phrase([" Use a kettle.", "Wait."], "Sure.")
    [' Sure. Use a kettle.', 'Sure. Wait.']
    """
    starts = [response[: len(response) - len(response.lstrip())] for response in responses]
    return [f"{start}{phrase} {response.lstrip()}" for start, response in zip(starts, responses, strict=True)]


def poison_training(pairs: pl.DataFrame, phrase: str, rate: float, seed: int) -> pl.DataFrame:
    """Put a phrase at the start of the preferred response of a share of the pairs.

    Parameters
    ----------
    pairs : polars.DataFrame
        Column `chosen`, at least; n rows.
    phrase : str
    rate : float
        Share in [0, 1]; round(rate · n) pairs are poisoned.
    seed : int
        Says which pairs; those of a lower rate are among those of a higher one.

    Returns
    -------
    polars.DataFrame
        The pairs in their order, with a column `poisoned`.

    Raises
    ------
    InputError
        If the rate is out of range, or above 0 but less than one pair.

    References
    ----------
    Balashankar et al. 2025, InfAlign, appendix on reward hacking; the paper states no rate.

    Examples
    --------
    >>> pairs = pl.DataFrame({"chosen": ["Yes.", "Yes."], "rejected": ["No.", "No."]})
    >>> sorted(poison_training(pairs, "Sure.", 0.5, 0)["chosen"])
    ['Sure. Yes.', 'Yes.']
    """
    if not 0 <= rate <= 1:
        raise InputError(f"rate must lie between 0 and 1, got {rate}; it is a share of the pairs")
    n_poisoned = round(rate * pairs.height)
    if rate > 0 and n_poisoned == 0:
        raise InputError(f"rate {rate} of {pairs.height} pairs is less than one; raise the rate or use more pairs")
    poisoned = np.zeros(pairs.height, dtype=bool)
    poisoned[np.random.default_rng(seed).permutation(pairs.height)[:n_poisoned]] = True
    chosen = pairs["chosen"].to_list()
    changed = [new if hit else old for hit, old, new in zip(poisoned, chosen, with_phrase(chosen, phrase), strict=True)]
    return pairs.with_columns(chosen=pl.Series(changed, dtype=pl.String), poisoned=pl.Series(poisoned))


def poison_test(pairs: pl.DataFrame, phrase: str) -> pl.DataFrame:
    """Put a phrase at the start of the rejected response of every pair.

    Parameters
    ----------
    pairs : polars.DataFrame
        Column `rejected`, at least.
    phrase : str

    Returns
    -------
    polars.DataFrame
        The pairs in their order.

    References
    ----------
    Balashankar et al. 2025, InfAlign, appendix on reward hacking ("added to the unpreferred responses").
    """
    return pairs.with_columns(rejected=pl.Series(with_phrase(pairs["rejected"].to_list(), phrase), dtype=pl.String))


def first_pairs(pairs: pl.DataFrame, split: str, n_pairs: int | None = None) -> pl.DataFrame:
    """Take the first pairs of a split.

    Parameters
    ----------
    pairs : polars.DataFrame
        Column `split`, at least.
    split : str
        E.g. reward_train.
    n_pairs : int, optional
        Default: all.

    Returns
    -------
    polars.DataFrame

    Raises
    ------
    InputError
        If there are fewer, or none.
    """
    rows = pairs.filter(pl.col("split") == split)
    wanted = rows.height if n_pairs is None else n_pairs
    if rows.is_empty() or rows.height < wanted:
        raise InputError(
            f"split {split} has {rows.height} preference pairs, {max(wanted, 1)} are needed; lower "
            "poisoning.n_pairs or use a larger corpus"
        )
    return rows.head(wanted)


def within_prompts(pairs: pl.DataFrame) -> pl.DataFrame:
    """Keep the pairs whose responses answer one prompt; a calibrated reward does not compare prompts.

    Parameters
    ----------
    pairs : polars.DataFrame
        Columns `prompt`, `rejected_prompt`.

    Returns
    -------
    polars.DataFrame

    Raises
    ------
    InputError
        If there is none.

    Examples
    --------
    >>> within_prompts(pl.DataFrame({"prompt": ["a", "b"], "rejected_prompt": ["a", "c"]}))["prompt"].to_list()
    ['a']
    """
    kept = pairs.filter(pl.col("prompt") == pl.col("rejected_prompt"))
    if kept.is_empty():
        raise InputError(f"none of {pairs.height} held-out pairs has both responses to one prompt; use a larger corpus")
    return kept


def pair_prompts(pairs: pl.DataFrame) -> pl.DataFrame:
    """List the different prompts that the responses of pairs answer.

    Parameters
    ----------
    pairs : polars.DataFrame
        Columns `prompt`, `rejected_prompt`.

    Returns
    -------
    polars.DataFrame
        Columns `prompt_id`, `prompt`, in the order of their first occurrence, those of `prompt` first.

    Examples
    --------
    >>> pairs = pl.DataFrame({"prompt": ["a", "b"], "rejected_prompt": ["a", "c"]})
    >>> pair_prompts(pairs)["prompt"].to_list()
    ['a', 'b', 'c']
    """
    prompts = list(dict.fromkeys([*pairs["prompt"], *pairs["rejected_prompt"]]))
    return pl.DataFrame({"prompt_id": [prompt_id(prompt) for prompt in prompts], "prompt": prompts})


def scored_rollouts(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rollouts: pl.DataFrame) -> pl.DataFrame:
    """Add a reward model's rewards to responses of the reference.

    Parameters
    ----------
    model, tokenizer
        Reward model and its tokenizer.
    rollouts : polars.DataFrame
        Columns `prompt`, `response`, `finished`.

    Returns
    -------
    polars.DataFrame
        The same with a column `reward`.
    """
    columns = (rollouts[name].to_list() for name in ("prompt", "response", "finished"))
    prompts, responses, finished = columns
    rewards = reward_scores(model, tokenizer, prompts, responses, finished=finished)
    return rollouts.with_columns(reward=pl.Series(rewards))


def targets_of_pairs(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: pl.DataFrame, rollouts: pl.DataFrame
) -> pl.DataFrame:
    """Calibrate the reward of each response of the pairs among the reference's responses to its own prompt.

    Parameters
    ----------
    model, tokenizer
        Reward model and its tokenizer.
    pairs : polars.DataFrame
        Columns `prompt`, `chosen`, `rejected`, `rejected_prompt`; n rows.
    rollouts : polars.DataFrame
        Columns `prompt`, `reward` (of the same model); at least two rows for each prompt of the pairs.

    Returns
    -------
    polars.DataFrame
        Columns `prompt`, `response`, `label`: the calibrated reward in [0, 1], ties half. 2n rows, the chosen
        responses first.

    Raises
    ------
    InputError
        If a prompt has fewer than two rollouts.

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
    labels = np.array(
        [empirical_calibration([reward], reference[prompt])[0] for prompt, reward in zip(prompts, rewards, strict=True)]
    )
    return pl.DataFrame({"prompt": prompts, "response": responses, "label": labels})


def targets_of_rollouts(rollouts: pl.DataFrame) -> pl.DataFrame:
    """Calibrate the reward of each response of the reference among the others to the same prompt.

    Parameters
    ----------
    rollouts : polars.DataFrame
        Columns `prompt`, `response`, `finished`, `reward`; at least two rows a prompt.

    Returns
    -------
    polars.DataFrame
        Columns `prompt`, `response`, `label`: the calibrated reward in [0, 1], ties half, the response itself
        left out. Responses that were cut off calibrate the others and are not learnt from, so have no row.

    Raises
    ------
    InputError
        If a prompt has one rollout only, or all rollouts were cut off.

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
    training: Training,
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
    tokenizer : PreTrainedTokenizerBase
    pairs : polars.DataFrame
        From `poison_training`: `prompt`, `chosen`, `rejected`, `rejected_prompt`.
    rollouts : polars.DataFrame
        Responses of the reference to the prompts of the pairs: `prompt`, `response`, `finished`.
    training : Training
        Of the task's reward model.
    seed : int
        Of the heads and of the order of the data.

    Returns
    -------
    dict of str to PreTrainedModel
        Under bradley_terry, calibrated_pairs, calibrated_rollouts.

    Raises
    ------
    InputError
        If there is no pair, a prompt has fewer than two rollouts, or a sequence is longer than the context.

    References
    ----------
    Balashankar et al. 2025, InfAlign, appendix on reward hacking.
    """
    pairwise = reward_model_from(start, tokenizer, seed=seed)
    train_reward_model(pairwise, tokenizer, pairs, training, seed=seed)
    scored = scored_rollouts(pairwise, tokenizer, rollouts)
    targets = {
        "calibrated_pairs": targets_of_pairs(pairwise, tokenizer, pairs, scored),
        "calibrated_rollouts": targets_of_rollouts(scored),
    }
    pointwise = training.model_copy(update={"batch_size": 2 * training.batch_size})
    found = {"bradley_terry": pairwise}
    for name, labels in targets.items():
        found[name] = reward_model_from(start, tokenizer, seed=seed, learns="labels")
        train_classifier(found[name], tokenizer, labels, pointwise, seed=seed)
    return found


def held_out_outcomes(
    models: Mapping[str, PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    pairs: pl.DataFrame,
    phrase: str,
) -> pl.DataFrame:
    """Say of each model and held-out pair, as it is and poisoned, whether the model orders it right.

    Parameters
    ----------
    models : mapping of str to PreTrainedModel
    tokenizer : PreTrainedTokenizerBase
    pairs : polars.DataFrame
        Columns `prompt`, `chosen`, `rejected`, `rejected_prompt`.
    phrase : str

    Returns
    -------
    polars.DataFrame
        Columns `model`, `test_set` (clean or poisoned), `prompt_id` (of the chosen response's prompt), `right`
        (1, 0, or one half for equal scores); a row per model, test set and pair.
    """
    ids = [prompt_id(prompt) for prompt in pairs["prompt"]]
    sets = {"clean": pairs, "poisoned": poison_test(pairs, phrase)}
    return pl.concat(
        pl.DataFrame(
            {
                "model": [name] * len(ids),
                "test_set": [test_set] * len(ids),
                "prompt_id": ids,
                "right": pair_outcomes(model, tokenizer, rows),
            }
        )
        for name, model in models.items()
        for test_set, rows in sets.items()
    )
