"""The training job of one policy: its settings, the files it reads and the files it writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import polars as pl

from infalign.alignment.processes import Processes, single_process
from infalign.alignment.training import Destination
from infalign.errors import InputError
from infalign.language.reward_models import load_reward_model
from infalign.language.scoring import reward_scores
from infalign.records.block import parse_block
from infalign.records.methods import MethodSettings
from infalign.records.policy import Policy
from infalign.records.tables import read_manifest, read_table, weights_sha256, write_folder, write_table
from infalign.records.task import Rollouts


@dataclass(frozen=True)
class PolicyJob:
    """Files and settings of one training job.

    Parameters
    ----------
    policy : str
        JSON of what the policy is trained for (see `Policy`).
    settings : str
        JSON of the method's settings.
    rollouts : str
        JSON of the configuration's block `rollouts`: how responses are sampled.
    reference : Path
        Folder of the reference policy.
    reward_model : Path
        Folder of the reward model.
    prompts : Path
        Table of prompts.
    pairs : Path
        Table of the corpus' preference pairs.
    scores : Path
        Scored reference rollouts of the training prompts.
    scratch : Path
        Folder for checkpoints; a run that was stopped resumes from there.
    out : Path
        Folder of the policy to write.
    log : Path
        Table of the training's updates to write.
    """

    policy: str
    settings: str
    rollouts: str
    reference: Path
    reward_model: Path
    prompts: Path
    pairs: Path
    scores: Path
    scratch: Path
    out: Path
    log: Path

    @cached_property
    def specification(self) -> Policy:
        """What the policy is trained for."""
        return Policy(**json.loads(self.policy))

    @cached_property
    def method(self) -> MethodSettings:
        """Settings of the method."""
        return parse_block(MethodSettings, self.settings)  # type: ignore[arg-type]  # a union has no type

    @cached_property
    def sampling(self) -> Rollouts:
        """How responses are sampled."""
        return parse_block(Rollouts, self.rollouts)

    def training_prompts(self) -> pl.DataFrame:
        """Read the prompts of the split train."""
        return read_table(self.prompts, ["prompt_id", "prompt", "split"]).filter(pl.col("split") == "train")

    def reference_scores(self, *columns: str) -> pl.DataFrame:
        """Read the scored reference rollouts: prompt_id, sample_id, reward and these further columns.

        Raises
        ------
        InputError
            They were sampled from another reference or scored by another reward model than the job's.
        """
        manifest = read_manifest(self.scores)
        for folder, name in ((self.reference, "model_sha256"), (self.reward_model, "reward_model_sha256")):
            if manifest.get(name) != weights_sha256(folder):
                raise InputError(
                    f"{self.scores}: made with other weights than {folder} has now ({name} "
                    f"{str(manifest.get(name))[:12]} against {weights_sha256(folder)[:12]}): the model was changed "
                    "after its rollouts were made; remove the scores and their rollouts and run again"
                )
        return read_table(self.scores, ["prompt_id", "sample_id", "reward", *columns], also=())

    def scorer(self) -> Callable[[Sequence[str], Sequence[str], Sequence[bool]], np.ndarray]:
        """Score responses (texts) by the reward model, which is loaded at the first call; see `OnlineTask`."""
        load = cache(lambda: load_reward_model(self.reward_model))

        def score(prompts: Sequence[str], responses: Sequence[str], finished: Sequence[bool]) -> np.ndarray:
            model, tokenizer = load()
            return reward_scores(model, tokenizer, prompts, responses, finished=finished)

        return score

    def write(
        self,
        train: Callable[[Destination], pl.DataFrame],
        measures: Mapping[str, object],
        processes: Processes | None = None,
    ) -> None:
        """Train into the policy's folder, then write the log; each whole or not at all.

        Parameters
        ----------
        train : Callable
            Writes the policy to the destination it is given and returns the log, one row an update.
        measures : mapping of str to object
            For the manifests; `beta` among them (the paper's; None where the method has none).
        processes : Processes, optional
            That train together, of which the main one writes; by default a single one, and several are an InputError.
        """
        processes = processes or single_process(self.method.kind)
        if not processes.main:
            train(Destination(self.out, self.scratch))
            return
        logs: list[pl.DataFrame] = []
        manifest = {**self.specification.row(), "reference_sha256": weights_sha256(self.reference)}
        if processes.count > 1:
            manifest["processes"] = processes.count
        manifest |= measures
        write_folder(self.out, lambda folder: logs.append(train(Destination(folder, self.scratch))), manifest)
        write_table(logs[0], self.log, manifest)
