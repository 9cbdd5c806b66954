"""What every block of the configuration is made of, how it is checked, and how it is written for a script."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from infalign.errors import InputError

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
B = TypeVar("B")


class Block(BaseModel):
    """A part of the configuration. Unknown keys are errors. Values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StudyBlock(Block):
    """The block of a study. No list names anything twice."""

    @field_validator("*")
    @classmethod
    def _no_repeats(cls, values):
        return distinct(values) if isinstance(values, list) else values


def distinct(values: list) -> list:
    """Refuse a list that names something twice.

    Examples
    --------
    >>> distinct([2, 4])
    [2, 4]
    """
    repeated = [value for value in values if values.count(value) > 1]
    if repeated:
        raise ValueError(f"{repeated[0]} is listed twice; remove one")
    return values


def unknown_task(name: str, tasks: Iterable[str]) -> str:
    """Write what is wrong with the name of a task that is not there."""
    return f"unknown task {name!r}; the tasks are {', '.join(tasks)}"


def parse_block(kind: type[B], text: str) -> B:
    """Check one block of the configuration, written as JSON, e.g. `Rollouts`; InputError with all errors at once."""
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        raise validation_problems(f"the settings {text}", error) from None


def validation_problems(name: str, error: ValidationError) -> InputError:
    """Write all errors of `name`, each with its place, what was got and what is allowed."""
    lines = "".join(f"\n  {_describe(item)}" for item in error.errors())
    return InputError(f"errors in {name}:{lines}")


def _describe(item: Any) -> str:
    place = ".".join(str(part) for part in item["loc"]) or "config"
    if item["type"] == "extra_forbidden":
        return f"{place}: unknown key; remove it or look it up in config/schema.json"
    if item["type"] == "missing":
        return f"{place}: missing"
    got = "" if isinstance(item["input"], (dict, list)) else f", got {item['input']!r}"
    return f"{place}: {item['msg'].removeprefix('Value error, ')}{got}"


def settings_json(block: BaseModel) -> str:
    """Write a block as canonical JSON, as scripts take it on their command line."""
    return json.dumps(block.model_dump(mode="json"), sort_keys=True)


def short_hash(text: str, *more: str | None) -> str:
    """Hash texts to 8 hex digits."""
    joined = "\0".join([text, *(part or "" for part in more)])
    return hashlib.sha256(joined.encode()).hexdigest()[:8]
