"""Scored responses, checked and arranged by prompt: what calibration and win rates take."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from infalign.errors import InputError
from infalign.mathematics.calibration import (
    Calibrator,
    anchored_calibration,
    empirical_calibration,
    fit_anchors,
)
from infalign.mathematics.procedures import Procedure
from infalign.records.tables import check_unique, read_table

SCORES = ("reward", "judge", "gold", "kl", "n_tokens")


@dataclass(frozen=True)
class ScoreArrays:
    """Scores arranged by prompt, each column (P, K) for K responses to each of P prompts.

    The prompts are in the rising order of their ids, the responses to each in that of their sample_id.
    """

    prompt_ids: list[str]
    columns: dict[str, NDArray[np.float64]]

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        return self.columns[name]


def scores_by_prompt(
    frame: pl.DataFrame, columns: Sequence[str] | None = None, *, where: str | Path = "scores"
) -> ScoreArrays:
    """Arrange a table of scores by prompt; InputError, naming `where`, unless all have as many responses.

    Parameters
    ----------
    frame : polars.DataFrame
        Columns `prompt_id`, scores, and `sample_id`, without which the responses stay in the order of the table.
    columns : sequence of str, optional
        Which to arrange. Default: those of `SCORES` that are there with at least one value.

    Examples
    --------
    >>> frame = pl.DataFrame({"prompt_id": ["b", "a"], "sample_id": [0, 0], "reward": [1.0, 2.0]})
    >>> scores_by_prompt(frame)["reward"].tolist()
    [[2.0], [1.0]]
    """
    if columns is None:
        columns = [n for n in SCORES if n in frame.columns and frame[n].null_count() < frame.height]
    keys = [name for name in ("prompt_id", "sample_id") if name in frame.columns]
    ordered = frame.sort(keys, maintain_order=True)
    sizes = ordered.group_by("prompt_id", maintain_order=True).len()
    counts = sizes["len"].to_list()
    fewest, most = min(counts, default=0), max(counts, default=0)
    if fewest != most:
        raise InputError(
            f"{where}: every prompt needs the same number of responses, got from {fewest} to {most}; "
            "keep as many of each"
        )
    shape = (len(counts), most)
    arrays = {name: ordered[name].to_numpy().astype(float).reshape(shape) for name in columns}
    return ScoreArrays(sizes["prompt_id"].to_list(), arrays)


def read_scores(path: str | Path, columns: Sequence[str], *, samples: bool = False) -> pl.DataFrame:
    """Read a table of scored responses: prompt_id, sample_id where it exists, and columns of scores, in file order.

    The scores are finite in every row. `samples` says that sample_id is needed too. Where it exists, (prompt_id,
    sample_id) is unique. What breaks this is an InputError.
    """
    needed = ["prompt_id", *(["sample_id"] if samples else []), *columns]
    frame = read_table(path, needed, also=["sample_id"])
    for name in {"prompt_id", "sample_id"} & set(frame.columns):
        if nulls := frame[name].null_count():
            raise InputError(f"{path}: {name} is null in {nulls} rows; every response needs one")
    if "sample_id" in frame.columns:
        check_unique(frame, ("prompt_id", "sample_id"), path)
    return frame


def check_same_prompts(first: pl.DataFrame, second: pl.DataFrame, paths: tuple[str | Path, str | Path]) -> None:
    """Raise InputError naming a prompt that only one of two tables has.

    Examples
    --------
    >>> one = pl.DataFrame({"prompt_id": ["a"]})
    >>> check_same_prompts(one, one, ("policy.parquet", "reference.parquet"))
    """
    if first.schema["prompt_id"] != second.schema["prompt_id"]:
        raise InputError(
            f"prompt_id is {first.schema['prompt_id']} in {paths[0]} and {second.schema['prompt_id']} in "
            f"{paths[1]}; give both tables the same type"
        )
    sides = [(first, second, paths[0], paths[1]), (second, first, paths[1], paths[0])]
    for table, other_table, path, other in sides:
        only = table.filter(~pl.col("prompt_id").is_in(other_table["prompt_id"].unique().implode()))
        if not only.is_empty():
            raise InputError(
                f"{path}: prompt_id {only['prompt_id'][0]!r} is not in {other} "
                f"({only['prompt_id'].n_unique()} such prompts); both tables must have the same prompts"
            )


def check_untied(frame: pl.DataFrame, column: str, path: str | Path) -> None:
    """Raise InputError when within every prompt all values of `column` are equal, though it has several."""
    spread = frame.group_by("prompt_id").agg(values=pl.col(column).n_unique(), responses=pl.len())
    if (spread["values"] == 1).all() and (spread["responses"] > 1).any():
        raise InputError(
            f"{path}: all values of {column} are tied within every prompt, so they rank nothing; "
            "score the responses again"
        )


def check_rollouts(frame: pl.DataFrame, needed: int, purpose: str, path: str | Path) -> None:
    """Raise InputError naming the first prompt with fewer than `needed` responses.

    Examples
    --------
    >>> check_rollouts(pl.DataFrame({"prompt_id": ["a", "a"]}), 2, "empirical", "reference.parquet")
    """
    few = frame.group_by("prompt_id", maintain_order=True).len().filter(pl.col("len") < needed)
    if not few.is_empty():
        raise InputError(
            f"{path}: {purpose} needs at least {needed} responses a prompt, prompt_id "
            f"{few['prompt_id'][0]!r} has {few['len'][0]} ({few.height} such prompts); sample more"
        )


def stacked_scores(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read reward and judge scores as two arrays (P, K), prompts ordered by prompt_id.

    It is an InputError if prompts have unequal numbers of responses or fewer than 2, or all rewards are tied.
    """
    frame = read_scores(path, ["reward", "judge"])
    check_rollouts(frame, 2, "the offline frontier", path)
    check_untied(frame, "reward", path)
    scores = scores_by_prompt(frame.drop("sample_id", strict=False), ["reward", "judge"], where=path)
    return scores["reward"], scores["judge"]


def pooled_scores(path: str | Path, true_reward: str = "judge") -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Read proxy and true rewards for hedging: an array (responses,) for each prompt, prompts ordered by prompt_id.

    The proxy is the column reward.

    Raises
    ------
    InputError
        As `read_scores`; one prompt, or fewer than 2 responses to one; all rewards tied; the true reward
        constant within every prompt, or equal to the reward in every row.
    """
    frame = read_scores(path, ["reward", true_reward])
    check_rollouts(frame, 2, "hedging", path)
    if frame["prompt_id"].n_unique() == 1:
        raise InputError(
            f"{path}: one prompt only, so nothing says how far its best parameter holds for others; "
            "give the responses to several prompts"
        )
    check_untied(frame, "reward", path)
    if (frame.group_by("prompt_id").agg(pl.col(true_reward).n_unique())[true_reward] == 1).all():
        raise InputError(
            f"{path}: {true_reward}, the true reward, is constant within every prompt, so no parameter is better than "
            "another; give scores that tell responses apart"
        )
    if (frame["reward"] == frame[true_reward]).all():
        raise InputError(
            f"{path}: reward (the proxy) and {true_reward} (the true reward) are identical in every row, so there is "
            f"nothing to hedge against; give the true reward in the column {true_reward}"
        )
    return _grouped(frame, "reward"), _grouped(frame, true_reward)


def paired_scores(
    policy: str | Path,
    reference: str | Path,
    *,
    select: str,
    procedures: Sequence[Procedure],
    opponents: Sequence[Procedure] | None = None,
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Read a policy's and the reference's scores, prompt by prompt in the same order.

    Parameters
    ----------
    select : {"reward", "judge"}
        Column that a procedure selects by.
    procedures : sequence of Procedure
        What will be applied; each side needs as many samples as the largest asks for.
    opponents : sequence of Procedure, optional
        What will be applied to the reference instead.

    Returns
    -------
    policy_select, policy_judge, reference_select, reference_judge : list of ndarray
        An array (samples,) for each prompt.

    Raises
    ------
    InputError
        As `read_scores`; prompts differ; too few samples; all values of `select` tied.
    """
    ours, theirs = (read_scores(path, ["reward", "judge"]) for path in (policy, reference))
    check_same_prompts(ours, theirs, (policy, reference))
    opponents = procedures if opponents is None else opponents
    for frame, path, applied in ((ours, policy, procedures), (theirs, reference, opponents)):
        for procedure in applied:
            check_rollouts(frame, procedure.min_samples, procedure.text, path)
    if any(procedure.name != "none" for procedure in [*procedures, *opponents]):
        columns = "prompt_id", pl.col(select).cast(pl.Float64)
        check_untied(pl.concat([ours.select(*columns), theirs.select(*columns)]), select, f"{policy} and {reference}")
    mine = _grouped(ours, select), _grouped(ours, "judge")
    return (*mine, _grouped(theirs, select), _grouped(theirs, "judge"))


def calibrated_table(
    reference: str | Path,
    scores: str | Path,
    calibrator: Calibrator,
    *,
    ties: str = "half",
    leave_one_out: bool = False,
) -> pl.LazyFrame:
    """Calibrate a table of rewards against reference rollouts; the other columns are not in memory.

    Parameters
    ----------
    reference, scores : str or Path
        Tables with prompt_id and reward (and sample_id for `leave_one_out`), of the rollouts and of the responses to
        calibrate, both with the same prompts.
    ties : {"half", "weak", "strict"}
        For `empirical`.
    leave_one_out : bool
        Leave the rollout with the response's own (prompt_id, sample_id) out of its reference.

    Returns
    -------
    polars.LazyFrame
        The table of `scores` with the column `calibrated`, in [0, 1].

    Raises
    ------
    InputError
        As `read_scores`; prompts differ; too few rollouts; all reference rewards tied; `leave_one_out`
        although no response is among the reference, or with another reward.

    References
    ----------
    Balashankar et al. 2025, InfAlign, Definition 2 and section 5.
    """
    rollouts = read_scores(reference, ["reward"], samples=leave_one_out)
    frame = read_scores(scores, ["reward"], samples=leave_one_out)
    check_same_prompts(rollouts, frame, (reference, scores))
    fewest = 1 if calibrator.name == "anchors" and calibrator.p == 1 else 2
    check_rollouts(rollouts, max(fewest, 1 + leave_one_out), calibrator.text, reference)
    check_untied(rollouts, "reward", reference)
    places = np.full(frame.height, -1)
    if leave_one_out:
        places = _places_among_rollouts(frame, rollouts, (scores, reference))
    offset, rewards = float(np.mean(rollouts["reward"].to_numpy())), frame["reward"].to_numpy()
    references = _by_prompt(rollouts, "reward")
    calibrated = np.empty(frame.height)
    for prompt, rows in _rows_by_prompt(frame).items():
        data = (rewards[rows], references[prompt], places[rows])
        if calibrator.p is None:
            calibrated[rows] = empirical_calibration(data[0], data[1], ties=ties, in_reference=data[2] >= 0)
        else:
            calibrated[rows] = _anchored(*data, offset, calibrator.p)
    others = pl.scan_parquet(scores).drop("calibrated", strict=False)
    return pl.concat([others, pl.LazyFrame({"calibrated": calibrated})], how="horizontal")


def _anchored(rewards: np.ndarray, reference: np.ndarray, places: np.ndarray, offset: float, p: int) -> np.ndarray:
    """Calibrate by anchors, each reward against the reference without its own place (-1: all of it)."""
    curves = {
        place: fit_anchors(np.delete(reference, place) if place >= 0 else reference, offset, p)
        for place in np.unique(places).tolist()
    }
    pairs = zip(rewards, places.tolist(), strict=True)
    return np.array([anchored_calibration([reward], curves[place], offset)[0] for reward, place in pairs])


def _places_among_rollouts(
    frame: pl.DataFrame, rollouts: pl.DataFrame, paths: tuple[str | Path, str | Path]
) -> np.ndarray:
    """Position of each response among its prompt's rollouts by sample_id, -1 where it is not there."""
    key = pl.col("prompt_id"), pl.col("sample_id").cast(pl.String)
    places = rollouts.select(*key, place=pl.int_range(pl.len()).over("prompt_id"), rollout="reward")
    joined = frame.select(*key, "reward").join(places, on=["prompt_id", "sample_id"], how="left", maintain_order="left")
    differing = joined.filter(pl.col("rollout") != pl.col("reward"))
    if not differing.is_empty():
        first = differing.row(0, named=True)
        raise InputError(
            f"--leave-one-out: prompt_id {first['prompt_id']!r}, sample_id {first['sample_id']} has reward "
            f"{first['reward']} in {paths[0]} and {first['rollout']} in {paths[1]} ({differing.height} such "
            "rows); give tables of the same responses, or leave the option out"
        )
    unmatched = joined["place"].null_count()
    if unmatched == joined.height:
        raise InputError(
            f"--leave-one-out: no (prompt_id, sample_id) of {paths[0]} is in {paths[1]}; leave the option out"
        )
    if unmatched:
        warnings.warn(f"{unmatched} responses of {paths[0]} are not in {paths[1]}: none is left out", stacklevel=2)
    return joined["place"].fill_null(-1).to_numpy()


def _rows_by_prompt(frame: pl.DataFrame) -> dict[object, np.ndarray]:
    groups = frame.with_row_index("row").group_by("prompt_id", maintain_order=True).agg("row")
    return {prompt: np.array(rows) for prompt, rows in groups.iter_rows()}


def _by_prompt(frame: pl.DataFrame, column: str) -> dict[object, np.ndarray]:
    values = frame[column].to_numpy().astype(float)
    return {prompt: values[rows] for prompt, rows in _rows_by_prompt(frame).items()}


def _grouped(frame: pl.DataFrame, column: str) -> list[np.ndarray]:
    """One array a prompt, prompts in the order of their ids."""
    return list(_by_prompt(frame.sort("prompt_id", maintain_order=True), column).values())
