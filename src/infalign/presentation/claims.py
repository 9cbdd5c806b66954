"""The papers' claims, read from reports/claims.yaml and judged against a run's tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args

import polars as pl
import yaml
from pydantic import Field, ValidationError

from infalign.errors import InputError
from infalign.mathematics.statistics import Bootstrap
from infalign.presentation.measures.base import ClaimKind, Measured, Tables
from infalign.presentation.verdicts import LEVEL, Expectation, least_favourable, verdict
from infalign.records.block import Block

COLUMNS = {
    "claim": pl.String,
    "source": pl.String,
    "text": pl.String,
    "paper_value": pl.String,
    "ours": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "verdict": pl.String,
}

DEFAULT_BOOTSTRAP = Bootstrap()
Kinds = Sequence[type[ClaimKind]]
M = TypeVar("M")


class Claim(Block, Generic[M]):
    """One statement of a paper, in our words, and how it is measured here.

    `about` says what kind of statement it is: `theory` (the continuous model), `measurement` (of the reward
    model), `advantage` (one method beats another), `equivalence` (methods are alike), `cost` (time, which is
    another in every run), `check` (this project's own, not a paper's).
    """

    claim: str = Field(pattern=r"^[a-z0-9-]+$")
    source: str = Field(min_length=1)
    text: str = Field(min_length=1)
    paper_value: str = Field(min_length=1)
    about: Literal["theory", "measurement", "advantage", "equivalence", "cost", "check"]
    expect: Expectation | None = None
    measure: M


class ClaimFile(Block, Generic[M]):
    """Content of a claims file."""

    claims: tuple[Claim[M], ...]


def load_claims(path: str | Path, kinds: Kinds) -> tuple[Claim, ...]:
    """Read and check a claims file.

    Parameters
    ----------
    path : str or Path
        YAML file with the one key `claims`.
    kinds : sequence of type
        Kinds of claims that there are.

    Returns
    -------
    tuple of Claim
        In file order.

    Raises
    ------
    InputError
        The file is missing or not YAML; or every wrong entry at once, each with its place and what is allowed.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the path of a claims file such as reports/claims.yaml")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not readable as YAML: {error}") from error
    return parse_claims(content, kinds, str(path))


def parse_claims(content: Any, kinds: Kinds, where: str = "claims") -> tuple[Claim, ...]:
    """Check the content of a claims file; see `load_claims`."""
    measure: Any = Annotated[Union[tuple(kinds)], Field(discriminator="kind")]  # noqa: UP007
    try:
        claims = ClaimFile[measure].model_validate(content).claims
        problems = _contradictions(claims)
    except ValidationError as error:
        problems = [_describe(item, content, kinds) for item in error.errors()]
    if problems:
        raise InputError(f"{where}: {len(problems)} errors:\n" + "\n".join(f"  {line}" for line in problems))
    return claims


def _describe(item: Any, content: Any, kinds: Kinds) -> str:
    place = item["loc"]
    name = ".".join(str(part) for part in place) or "file"
    if len(place) > 1 and place[0] == "claims" and isinstance(content["claims"][place[1]], dict):
        name = f"{name} ({content['claims'][place[1]].get('claim', 'no name')})"
    if item["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return f"{name}: kind must be one of {', '.join(kind_names(kinds))}, got {item['input'].get('kind')!r}"
    if item["type"] == "extra_forbidden":
        return f"{name}: unknown key; remove it"
    if item["type"] == "missing":
        return f"{name}: missing"
    got = "" if isinstance(item["input"], (dict, list)) else f", got {item['input']!r}"
    return f"{name}: {item['msg'].removeprefix('Value error, ')}{got}"


def kind_names(kinds: Kinds) -> list[str]:
    """Names by which a claims file calls kinds of claims."""
    return [get_args(kind.model_fields["kind"].annotation)[0] for kind in kinds]


def _contradictions(claims: Sequence[Claim]) -> list[str]:
    if not claims:
        return ["claims: the list is empty; give at least one claim"]
    names = [item.claim for item in claims]
    repeated = sorted({name for name in names if names.count(name) > 1})
    problems = [f"claim {name}: the name occurs {names.count(name)} times; rename one" for name in repeated]
    for item in claims:
        if (item.expect is None) != (item.measure.kind == "not_run"):
            rule = "give expect with every measure but not_run"
            problems.append(f"claim {item.claim}: {rule}, got measure {item.measure.kind}")
        if (item.about == "cost") != (item.measure.kind == "seconds_ratio"):
            rule = "measures of seconds, and only they, are about: cost"
            problems.append(f"claim {item.claim}: {rule}, got measure {item.measure.kind} about {item.about}")
    return problems


def evaluate_claims(
    claims: Sequence[Claim],
    tables: Tables,
    *,
    scorer: str | None = None,
    select: str | None = None,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
) -> pl.DataFrame:
    """Measure every claim and judge it.

    Parameters
    ----------
    claims : sequence of Claim
        From `load_claims`.
    tables : RunTables
    scorer, select : str, optional
        Take the place of the claims' own, e.g. scorer="gold".
    bootstrap : Bootstrap
        Its resamples and seed count. The level is that of the verdicts, 95 %.

    Returns
    -------
    DataFrame
        One row a claim: claim, source, text (with notes on what was compared), paper_value, ours, ci_low, ci_high
        (null where not measured; win rates and errors as shares of one) and verdict.

    Raises
    ------
    InputError
        The tables contradict one another, e.g. policies evaluated on different prompts.
    """
    bootstrap = replace(bootstrap, level=LEVEL)
    rows = [_row(_with(item, scorer, select), tables, bootstrap) for item in claims]
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def _with(item: Claim, scorer: str | None, select: str | None) -> Claim:
    fields = type(item.measure).model_fields
    given = {"scorer": scorer, "select": select}
    changes = {name: value for name, value in given.items() if value and name in fields}
    return item.model_copy(update={"measure": item.measure.model_copy(update=changes)}) if changes else item


def _row(item: Claim, tables: Tables, bootstrap: Bootstrap) -> tuple:
    measured = item.measure.measured(tables, bootstrap)
    interval = least_favourable(measured.intervals, item.expect) if item.expect else None
    numbers = (None, None, None) if interval is None else (interval.estimate, interval.low, interval.high)
    judged = verdict(interval, item.expect) if item.expect else "not run"
    text = " ".join(filter(None, [item.text.strip(), _note(item, measured, numbers[1])]))
    return (item.claim, item.source, text, item.paper_value, *numbers, judged)


def _note(item: Claim, measured: Measured, low: float | None) -> str:
    notes = [measured.note]
    if len(measured.intervals) > 1:
        notes.append(f"the least favourable of {len(measured.intervals)} comparisons")
    if item.expect and low is not None and item.expect.direction == "greater":
        highest = item.expect.paper_range[1] if item.expect.paper_range else None
        if highest is not None and low > highest:
            notes.append("above the paper's range")
    joined = "; ".join(filter(None, notes))
    return f"[{joined}]" if joined else ""


def judge_and_gold(
    claims: Sequence[Claim], tables: Tables, *, bootstrap: Bootstrap = DEFAULT_BOOTSTRAP
) -> pl.DataFrame:
    """Evaluate the claims on win rates twice: by the judge and by the gold reward.

    Returns
    -------
    DataFrame
        Columns claim, text, ours, ci_low, ci_high, verdict (judge) and ours_gold, ci_low_gold, ci_high_gold,
        verdict_gold. No rows where the tables have no gold scorer (real data).
    """
    scored = [
        item
        for item in claims
        if "scorer" in type(item.measure).model_fields and getattr(item.measure, "value", "win_rate") == "win_rate"
    ]
    judge = evaluate_claims(scored, tables, scorer="judge", bootstrap=bootstrap).drop("source", "paper_value")
    gold = evaluate_claims(scored, tables, scorer="gold", bootstrap=bootstrap)
    gold = gold.select("claim", pl.col("ours", "ci_low", "ci_high", "verdict").name.suffix("_gold"))
    both = judge.join(gold, on="claim", maintain_order="left")
    return both.filter((pl.col("verdict") != "not run") & (pl.col("verdict_gold") != "not run"))


def gold_disagreements(comparison: pl.DataFrame) -> pl.DataFrame:
    """Rows of `judge_and_gold` where the gold reward's verdict is not the judge's."""
    return comparison.filter(pl.col("verdict") != pl.col("verdict_gold"))
