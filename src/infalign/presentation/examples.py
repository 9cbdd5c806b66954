"""Example responses of the reference and of the policies at each temperature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import polars as pl

from infalign.presentation.curves import ALIKE, most_seeds, trained_n
from infalign.presentation.style import Series
from infalign.records.config import Config, task_folder
from infalign.records.policy import Policy
from infalign.records.sweep import Condition, policies, policy_folder, policy_sets, sampled_sets
from infalign.records.tables import read_table

STRENGTH_SIGNS = {"kl": "KL", "beta": "β =", "n": "n ="}
RESPONSE_COLUMNS = ["prompt_id", "sample_id", "response", "reward", "judge"]
EXAMPLES_SCHEMA = {
    **dict.fromkeys(("task", "split"), pl.String),
    "temperature": pl.Float64,
    **dict.fromkeys(("prompt_id", "prompt", "source", "response"), pl.String),
    **dict.fromkeys(("reward", "judge"), pl.Float64),
}


def policy_label(row: Mapping) -> str:
    """Name a policy, given as the columns of `Policy.row`, by its series and strength.

    Examples
    --------
    >>> row = {"method": "vbon", "transform": None, "calibrator": None, "n_rollouts": 100}
    >>> policy_label(row | {"strength_kind": "n", "strength": 8.0})
    'vBoN, n = 8'
    """
    name = Series(row["method"], row["transform"], row["calibrator"]).label
    return f"{name}, {STRENGTH_SIGNS[row['strength_kind']]} {row['strength']:g}"


def task_examples(config: Config, task: str, tasks: Path, n_prompts: int) -> list[dict]:
    """Collect the examples of one task under each of its conditions, as rows of EXAMPLES_SCHEMA.

    They are of the reference, its best-of-n, and the policies trained from the most seeds, of each the first seed.
    Prompts are null unless the corpus is embedded: no text of a data set leaves its folder.

    Parameters
    ----------
    tasks : Path
        Folder of the shared results.
    n_prompts : int
        Of each split, in the order of their ids.
    """
    folder = tasks / task_folder(config, task)
    shown, n = _shown_policies(config, task)
    rows = []
    for samples, condition in policy_sets(config.tasks[task]).items():
        path = folder / "scores" / f"{condition.name}.parquet"
        prompt_ids = read_table(path, ["prompt_id"], also=())["prompt_id"].unique().sort().head(n_prompts)
        texts = _prompts(config, task, folder)
        reference = _responses_to(prompt_ids, path).join(texts, on="prompt_id", how="left")
        paths = {
            label: tasks / policy_folder(config, policy) / "scores" / f"{samples}.parquet"
            for label, policy in shown.items()
            if samples in sampled_sets(config, policy)
        }
        scored = [(label, _responses_to(prompt_ids, place)) for label, place in paths.items()]
        rows += example_rows(task, condition, reference, scored, n=n, n_prompts=n_prompts)
    return rows


def _shown_policies(config: Config, task: str) -> tuple[dict[str, Policy], int | None]:
    """Policies by label, and the n of the best-of-n policies among them."""
    listed = [policy for policy in policies(config) if policy.task == task]
    if not listed:
        return {}, None
    most = most_seeds(pl.DataFrame([policy.row() for policy in listed], infer_schema_length=None))
    names = most.filter(pl.col("seed") == pl.col("seed").min().over(ALIKE))["policy"].to_list()
    return {policy_label(policy.row()): policy for policy in listed if policy.slug in names}, trained_n(most)


def _responses_to(prompt_ids: pl.Series, path: Path) -> pl.DataFrame:
    """Scored responses to some prompts; the texts of all of them need not fit into memory."""
    rows = pl.scan_parquet(path).filter(pl.col("prompt_id").is_in(prompt_ids.implode()))
    return rows.select(RESPONSE_COLUMNS).collect(engine="streaming")


def _prompts(config: Config, task: str, folder: Path) -> pl.DataFrame:
    """Prompts by their ids; null where they are a data set's."""
    path = folder / "data" / "prompts.parquet"
    prompts = read_table(path, ["prompt_id", "prompt"]).select("prompt_id", "prompt")
    if config.tasks[task].corpus.source == "embedded":
        return prompts
    return prompts.with_columns(prompt=pl.lit(None, pl.String))


def example_rows(
    task: str,
    condition: Condition,
    reference: pl.DataFrame,
    policies: Sequence[tuple[str, pl.DataFrame]],
    *,
    n: int | None,
    n_prompts: int,
) -> list[dict]:
    """Pick the first responses of the reference, its best-of-n and each policy to the first prompts of a split.

    Parameters
    ----------
    reference : DataFrame
        Scored rollouts, with `prompt` (null where it is not to be shown).
    policies : sequence of (str, DataFrame)
        Label and scored samples of each policy.
    n : int or None
        The best by the reward is among the first n rollouts. None: it is left out.
    n_prompts : int
        In the order of their ids.

    References
    ----------
    Amini et al., Variational best-of-N alignment (ICLR 2025), tables 2 and 4 to 7.
    """
    prompts = reference.select("prompt_id", "prompt").unique().sort("prompt_id").head(n_prompts)
    rows = []
    for prompt_id, prompt in prompts.rows():
        rollouts = reference.filter(prompt_id=prompt_id).sort("sample_id")
        shown = [("reference", rollouts)]
        if n:
            best = rollouts.head(n).sort("reward", descending=True, maintain_order=True)
            shown.append((f"best-of-{n}", best))
        shown += [(label, scores.filter(prompt_id=prompt_id).sort("sample_id")) for label, scores in policies]
        key = {**asdict(condition), "task": task, "prompt_id": prompt_id, "prompt": prompt}
        for source, responses in shown:
            first = responses.select("response", "reward", "judge").row(0, named=True)
            rows.append({**key, "source": source, **first})
    return rows
