"""What a study declares: its block of the configuration, what it samples and trains, its figures and claims."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infalign.presentation.figure import FigureEntry
from infalign.presentation.measures.base import ClaimKind
from infalign.records.config import Config
from infalign.records.responses import ModelTraining, ResponseSet, ScoreSet


def _nothing(block: Any, config: Config) -> Any:
    return ()


@dataclass(frozen=True)
class Study:
    """A side question.

    What a study computes from a run is called with its block and the configuration, and only where the run
    asks for the study. To take a study out, delete its folder, its file of rules and its place in the catalogue.

    Attributes
    ----------
    name : str
        Of its folder and of its file of rules.
    kind : type, optional
        Of its block. None: the study has no block and is part of every run.
    key, default, description : str, object, str
        Of its block in the configuration and its schema; by default the key is the name. The default asks for nothing.
    recorded : bool
        Whether the block is part of what a run records. False: no result depends on it.
    problems : callable
        Why the run cannot answer the question; called while the configuration is checked.
    check : callable
        Raises InputError for what can be said only of a configuration that is right otherwise.
    responses, scores, trainings : callable
        What the run samples, scores and trains for it, by path below `results/`.
    figures, claims : callable, tuple of type
        Its figures in this run, and its kinds of claims.
    """

    name: str
    kind: Any = None
    key: str = ""
    default: Any = None
    description: str = ""
    recorded: bool = True
    problems: Callable[[Any, Config], Iterable[str]] = _nothing
    check: Callable[[Any, Config], object] = _nothing
    responses: Callable[[Any, Config], Mapping[str, ResponseSet]] = _nothing
    scores: Callable[[Any, Config], Mapping[str, ScoreSet]] = _nothing
    trainings: Callable[[Any, Config], Mapping[str, ModelTraining]] = _nothing
    figures: Callable[[Any, Config], Sequence[FigureEntry]] = _nothing
    claims: tuple[type[ClaimKind], ...] = ()

    def block(self, config: Config) -> Any:
        """The study's block; None without one, and nothing (None, [], False) where it is not asked for."""
        return None if self.kind is None else getattr(config, self.key or self.name)

    def runs(self, config: Config) -> bool:
        """Whether a run asks for the study."""
        return self.kind is None or bool(self.block(config))
