"""What takes the time of a run, as ratios against the libraries that do the same: sampling, scoring, a policy's update.

    python benchmarks/speed.py results/tasks/helpful-c75008e6

Each comparison is on the models and prompts of one task that was run, in this process, on one thread: the two sides
take turns, and what is printed is each side's median and the median and range of the ratio of neighbouring turns.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import torch
import yaml
from transformers import pipeline

from infalign.alignment.batches import OnlineTask
from infalign.alignment.objectives import build_objective
from infalign.alignment.ppo import train_ppo
from infalign.alignment.rloo import train_rloo
from infalign.alignment.training import Destination
from infalign.catalogue import parse_config
from infalign.language.generation import prompt_uniforms, sample_tokens
from infalign.language.models import encode_prompts, load_language_model
from infalign.language.reward_models import load_reward_model
from infalign.language.scoring import reward_scores
from infalign.records.command import run_command
from infalign.records.tables import read_table

CONFIG = Path(__file__).parents[1] / "config" / "methods.yaml"
N_PROMPTS, N_SAMPLES, MAX_NEW_TOKENS = 24, 8, 40  # an update of config/methods.yaml
WARM_UPDATES = 1  # of a training, not counted: TRL's first one sets things up
PEERS = {
    "sample": "transformers' generate",
    "score": "transformers' text-classification pipeline",
    "update": "TRL's RLOO trainer",
}


def speed(task: Path, /, *, turns: int = 5, updates: int = 6) -> None:
    """Print the ratios.

    Parameters
    ----------
    task : folder of a task that was run on an embedded corpus, below results/tasks/.
    turns : of each side.
    updates : in a turn of the trainings.
    """
    torch.set_num_threads(1)
    prompts = read_table(task / "data" / "prompts.parquet", ["prompt_id", "prompt", "split"])
    prompts = prompts.filter(split="train")
    sides = {
        "sample": sampling(task, prompts.head(N_PROMPTS)),
        "score": scoring(task, prompts.head(N_PROMPTS)),
        "update": training(task, prompts, updates),
    }
    print("| | ours, ms | peer, ms | peer / ours | peer |\n|---|---|---|---|---|")
    for name, (ours, peer) in sides.items():
        times = np.array([[ours(), peer()] for _ in range(turns)])
        ratios = times[:, 1] / times[:, 0]
        own, other = 1000 * np.median(times, axis=0)
        spread = f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
        print(f"| {name} | {own:.0f} | {other:.0f} | {spread} | {PEERS[name]} |", flush=True)


Side = Callable[[], float]


def timed(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def sampling(task: Path, prompts: pl.DataFrame) -> tuple[Side, Side]:
    """Responses to the prompts, several to each, at temperature 1."""
    model, tokenizer = load_language_model(task / "models" / "reference")
    tokens = encode_prompts(tokenizer, prompts["prompt"].to_list())
    rows = [row for row in tokens for _ in range(N_SAMPLES)]
    uniforms = np.concatenate([prompt_uniforms(0, name, N_SAMPLES, MAX_NEW_TOKENS) for name in prompts["prompt_id"]])
    width = max(map(len, rows))
    padded = torch.tensor([[tokenizer.eos_token_id] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    ours = partial(sample_tokens, model, rows, uniforms, eos_id=tokenizer.eos_token_id, max_new_tokens=MAX_NEW_TOKENS)
    peer = partial(
        model.generate, padded, attention_mask=mask, do_sample=True, top_k=0, max_new_tokens=MAX_NEW_TOKENS,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return partial(timed, ours), partial(timed, peer)


def scoring(task: Path, prompts: pl.DataFrame) -> tuple[Side, Side]:
    """Rewards of stored responses; the pipeline takes the same texts in batches of the same size."""
    model, tokenizer = load_reward_model(task / "models" / "reward_model")
    responses = read_table(task / "rollouts" / "train.parquet", ["prompt_id", "sample_id", "response"])
    rows = responses.filter(pl.col("sample_id") < N_SAMPLES).join(prompts, on="prompt_id")
    texts = rows["prompt"].to_list(), rows["response"].to_list()
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer, function_to_apply="none")
    joined = [prompt + response + tokenizer.eos_token for prompt, response in zip(*texts, strict=True)]
    return (
        partial(timed, lambda: reward_scores(model, tokenizer, *texts)),
        partial(timed, lambda: classify(joined, batch_size=32)),
    )


def training(task: Path, prompts: pl.DataFrame, updates: int) -> tuple[Side, Side]:
    """One update of PPO and of RLOO on the same rewards, as many prompts and responses; median of a few."""
    methods = parse_config(yaml.safe_load(CONFIG.read_text())).methods
    reward_model, tokenizer = load_reward_model(task / "models" / "reward_model")
    reference, _ = load_language_model(task / "models" / "reference")
    scores = read_table(task / "scores" / "train.parquet", ["prompt_id", "sample_id", "reward"])
    objective = build_objective(scores, "exp(10)", kl=0.5)

    def score(asked, given, finished):
        return reward_scores(reward_model, tokenizer, asked, given, finished=finished)

    online_task = OnlineTask(tokenizer, prompts, score, 0, MAX_NEW_TOKENS)

    def median_update(train: Callable[..., pl.DataFrame], method: str, source: object) -> float:
        settings = methods[method].model_copy(update={"updates": updates + WARM_UPDATES})
        with tempfile.TemporaryDirectory() as folder:
            destination = Destination(Path(folder) / "policy", Path(folder) / "scratch", progress=False)
            log = train(source, online_task, objective, settings, destination)
        return float(np.median(log["seconds"].to_numpy()[WARM_UPDATES:]))

    ours = partial(median_update, train_ppo, "ppo", reference)
    peer = partial(median_update, train_rloo, "rloo", task / "models" / "reference")
    return ours, peer


if __name__ == "__main__":
    run_command(speed)
