"""Trainings whose responses vLLM draws; `accelerate launch … drawings.py FOLDER` runs two in several processes."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from toy import destination, make_toy, online_task

from infalign.alignment import ppo
from infalign.alignment.processes import ALONE, join_processes
from infalign.records.methods import PPOSettings

SETTINGS = {
    "engine": "vllm",
    "updates": 4,
    "prompts_per_update": 2,
    "samples_per_prompt": 8,
    "learning_rate": 0.01,
    "schedule": "constant",
    "checkpoint_every": 2,
}
KINDS = {"tied": {}, "untied": {"tie_word_embeddings": False, "n_layer": 2}}
LONG = "a b c b " * 40  # more than the 128 tokens that vLLM's cache of prompts keeps together on the CPU


class Objective:
    """Stands in for the objective: the reward itself, and no pull towards the reference."""

    beta = 0.0
    fingerprint = "reward"

    def values(self, prompt_ids, rewards, reference_log_probs=None):
        return rewards


class Interrupted(Exception):
    """Ends a training as if it had been killed."""


def model(kind="tied"):
    """A toy with heads of 32 and two prompts, one of them long."""
    toy = make_toy(**KINDS[kind] | {"n_embd": 64, "n_head": 2, "n_positions": 256})
    return replace(toy, prompts=pl.DataFrame({"prompt_id": ["long", "short"], "prompt": [LONG, "b"]}))


def train(folder, name="run", kind="tied", stop_after=None, processes=ALONE, **settings):
    """Train on the number of `a` in a response, from the same start each time."""
    toy, calls = model(kind), []

    def score(prompts, responses, finished):
        calls.append(1)
        if stop_after is not None and len(calls) > stop_after:
            raise Interrupted
        return np.array([float(response.count("a")) for response in responses])

    return ppo.train_ppo(
        toy.reference, online_task(toy, score, 3), Objective(), PPOSettings(**SETTINGS | settings),
        destination(folder, name), processes=processes,
    )  # fmt: skip


if __name__ == "__main__":
    joined = join_processes()
    for name, sharded in (("whole", False), ("divided", True)):
        log = train(Path(sys.argv[1]), name, "untied", processes=replace(joined, sharded=sharded))
        if joined.main:
            log.write_parquet(Path(sys.argv[1], f"{name}.parquet"))
    joined.leave()
