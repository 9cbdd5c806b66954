"""Trainings of the toy, the same in one process and in two: `accelerate launch … trainings.py FOLDER` runs all."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from safetensors.torch import save_file
from toy import Toy, destination, make_toy, online_task, score_toy

from infalign.alignment import batches, policy_update, ppo
from infalign.alignment.objectives import build_objective
from infalign.alignment.processes import Processes, join_processes, whole_tensor
from infalign.errors import InputError
from infalign.records.methods import PPOSettings

SETTINGS = {
    "updates": 6,
    "prompts_per_update": 2,
    "samples_per_prompt": 8,
    "learning_rate": 0.003,
    "kl_penalty": "full_vocabulary",
    "group_baseline": True,
    "checkpoint_every": 2,
}
TOYS = {"tied": {}, "untied": {"tie_word_embeddings": False, "n_layer": 2}}
LORA = {"rank": 2, "alpha": 4}
# What is trained: name to the toy, further settings, and whether FSDP divides the weights of several processes.
UPDATES = {
    "whole": ("tied", {"epochs": 2, "minibatches": 2, "chunk_size": 3}, False),
    "log_ratio": ("tied", {"kl_penalty": "log_ratio", "epochs": 2, "max_gradient_norm": 0.01}, False),
    "lora": ("untied", {"epochs": 2, "minibatches": 2, "lora": LORA}, False),
    "divided": ("untied", {"epochs": 2, "minibatches": 2, "chunk_size": 3, "max_gradient_norm": 0.01}, True),
    "divided_tied": ("tied", {"epochs": 2, "minibatches": 2}, True),
}


def fixed_update(name: str, processes: Processes) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """Take the steps of one update on every response there is; the weights after it, and its row of the log.

    The row also has `held`, how many weights of the policy this process keeps.
    """
    kind, further, sharded = UPDATES[name]
    toy = make_toy(**TOYS[kind])
    settings = PPOSettings(**SETTINGS | further)
    processes = replace(processes, sharded=sharded and processes.count > 1)
    learner = ppo.new_learner(toy.reference, settings, processes=processes)
    held = sum(getattr(p, "to_local", p.detach)().numel() for p in learner.policy.parameters())
    batch = every_response(toy)
    batch.tokens = batches.measure_tokens(learner, batch)
    batch.values = batch.rewards
    row = policy_update.update_policy(learner, batch, 0.3, np.random.default_rng(0))
    return {key: whole_tensor(p.detach()).clone() for key, p in learner.parameters.items()}, row | {"held": held}


def every_response(toy: Toy) -> batches.Batch:
    texts = toy.tokenizer.batch_decode(toy.responses, skip_special_tokens=True)
    prompts = [prompt for prompt in toy.prompts["prompt"] for _ in texts]
    return batches.Batch(
        [toy.tokenizer(prompt)["input_ids"] for prompt in prompts],
        toy.responses * toy.prompts.height,
        np.array([response[-1] == toy.tokenizer.eos_token_id for response in toy.responses] * 2),
        toy.score(prompts, texts * toy.prompts.height, None),
        np.concatenate([toy.log_probs(toy.reference, prompt) for prompt in toy.prompts["prompt"]]),
    )


def run(folder: Path, name: str, processes: Processes, score=None, sharded=False, **further) -> pl.DataFrame:
    """Train into `folder`/`name`, with checkpoints in `folder`/scratch."""
    toy = make_toy(**TOYS["untied"])
    objective = build_objective(score_toy(toy), "raw", kl=0.4)
    return ppo.train_ppo(
        toy.reference, online_task(toy, score), objective, PPOSettings(**SETTINGS | further),
        destination(folder, name), processes=replace(processes, sharded=sharded),
    )  # fmt: skip


def interrupted(folder: Path, name: str, processes: Processes, after: int, **options) -> None:
    """Begin a training that ends without a word after so many updates."""
    toy, calls = make_toy(), []

    def score(*arguments):
        calls.append(1)
        if len(calls) > after:
            raise KeyboardInterrupt
        return toy.score(*arguments)

    try:
        run(folder, name, processes, score, **options)
    except KeyboardInterrupt:
        return
    raise AssertionError("nothing was interrupted")


def error_of(training, *arguments, **options) -> str:
    try:
        training(*arguments, **options)
    except InputError as error:
        return str(error)
    return "none"


def run_all(folder: Path, processes: Processes) -> dict:
    """Every training of several processes; the policies and logs are in `folder`."""
    rows = {}
    for name in UPDATES:
        weights, rows[name] = fixed_update(name, processes)
        if processes.main:
            save_file(weights, folder / f"{name}.safetensors")
    logs = {
        "run": run(folder, "run", processes),
        "run_divided": run(folder, "run_divided", processes, sharded=True),
    }
    for name, sharded in (("stopped", False), ("stopped_divided", True)):
        average = {"weight_average": 0.5}
        logs[f"{name}_not"] = run(folder, f"{name}_not", processes, sharded=sharded, **average)
        interrupted(folder, name, processes, 5, sharded=sharded, **average)
        logs[name] = run(folder, name, processes, sharded=sharded, **average)
    logs["begun_alone"] = run(folder / "begun_alone", "policy", processes)
    if processes.main:
        for name, log in logs.items():
            log.write_parquet(folder / f"{name}.parquet")

    def broken(prompts, responses, finished):
        return np.full(len(prompts), np.nan if processes.index == 1 else 0.0)

    messages = {
        "diverged": error_of(run, folder, "diverged", processes, learning_rate=1e30),
        "diverged_divided": error_of(run, folder, "diverged", processes, sharded=True, learning_rate=1e30),
        "reward": error_of(run, folder, "reward", processes, broken),
    }
    return {"rows": rows, "messages": processes.gather([messages])}


if __name__ == "__main__":
    joined = join_processes()
    found = run_all(Path(sys.argv[1]), joined)
    if joined.main:
        Path(sys.argv[1], "found.json").write_text(json.dumps(found))
    joined.leave()
