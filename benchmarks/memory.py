"""Peak memory of the jobs that read every response of a large run: merging, scoring, calibration and metrics.

    python benchmarks/memory.py FOLDER

makes tables of 10,000 prompts with 100 responses of 512 tokens each in FOLDER (6 GB), runs the project's own scripts on
them, each in a process of its own, and prints its seconds and the largest memory that it held. Models are replaced
by stand-ins that give random scores at once: what is measured is all but their forward passes.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from infalign.catalogue import parse_config
from infalign.records.block import settings_json
from infalign.records.command import run_command
from infalign.records.config import Config, task_folder
from infalign.records.shards import prompts_at_once, shard_names
from infalign.records.sweep import policies, policy_folder
from infalign.records.tables import read_table, write_atomically, write_table

ROOT = Path(__file__).parents[1]
VOCABULARY = 50_000
CHARACTERS_PER_TOKEN = 4
PROMPT_TOKENS = 128
N_SHARDS = 16
SHAPE = {"hidden_size": 64, "n_layers": 1, "n_heads": 2, "intermediate_size": 128, "context": 1024}
TRAINING = {"learning_rate": 1e-3, "epochs": 1, "batch_size": 32}


def memory(
    folder: Path,
    /,
    *,
    n_prompts: int = 10_000,
    n_responses: int = 100,
    n_tokens: int = 512,
    stage: str | None = None,
) -> None:
    """Print the seconds and the peak memory of every stage.

    Parameters
    ----------
    folder : where the tables are made; remove it afterwards.
    n_prompts, n_responses, n_tokens : size of the tables.
    stage : run this stage alone, in this process, on what the stages before it have made.
    """
    if stage is not None:
        STAGES[stage](folder, n_prompts, n_responses, n_tokens)
        return
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {"--n-prompts": n_prompts, "--n-responses": n_responses, "--n-tokens": n_tokens}
    options = [str(word) for pair in sizes.items() for word in pair]
    print("| stage | CPU seconds | peak memory, GiB |\n|---|---|---|")
    for name in STAGES:
        seconds, peak = measured([sys.executable, __file__, str(folder), *options, "--stage", name])
        print(f"| {name} | {seconds:.0f} | {peak / 2**30:.2f} |", flush=True)


def measured(command: list[str]) -> tuple[float, int]:
    """Run a command; its CPU seconds, and the bytes that it held at most."""
    process = subprocess.Popen(command, env={**os.environ, "POLARS_MAX_THREADS": "1"})
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def run_config(n_prompts: int, n_responses: int, n_tokens: int) -> Config:
    """One task and one policy, on a corpus without a gold reward."""
    model = {"base": {"from_config": SHAPE}, "training": TRAINING}
    corpus = {"source": "preferences", "name": "pairs", "max_prompt_tokens": PROMPT_TOKENS}
    corpus |= {
        "n_train_prompts": n_prompts,
        "n_evaluation_prompts": n_prompts,
        "max_response_tokens": n_tokens,
    }
    task = {
        "corpus": corpus,
        "vocabulary_size": VOCABULARY,
        "reference": model,
        "reward_model": model,
        "judge": model,
    }
    task |= {"rollouts": {"n_rollouts": n_responses, "max_new_tokens": n_tokens}}
    task |= {"samples": {"n_samples": n_responses}}
    grid = {"tasks": ["helpful"], "method": "ppo", "reward": ["identity"], "kl": [0.5]}
    return parse_config(
        {
            "run": "memory",
            "tasks": {"helpful": task},
            "goals": {"helpful": {"procedure": "bon(4)", "transform": "exp(10)"}},
            "policies": [grid],
            "evaluation": {"n": [4]},
            "theory": {"transforms": ["identity"], "kl": [0.5]},
            "calibration": {
                "rollouts": [1, n_responses],
                "anchors": [1, 10],
                "n_measured": n_responses,
                "kl": [0.5],
            },
        }
    )


def script(name: str):
    """One of the project's scripts as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tables(folder: Path, config: Config) -> dict[str, Path]:
    """Where the tables of the run are."""
    (policy,) = policies(config)
    tasks = folder / "tasks"
    task, own = tasks / task_folder(config, "helpful"), tasks / policy_folder(config, policy)
    return {
        "config": folder / "config.json",
        "prompts": folder / "prompts.parquet",
        "responses": folder / "responses.parquet",
        "tasks": tasks,
        "reference": task / "scores" / "evaluation-t1.00.parquet",
        "scores": own / "scores" / f"evaluation-t1.00-n{config.tasks['helpful'].samples.n_samples}.parquet",
        "training": own / "training.parquet",
    }


def generate(folder: Path, *sizes: int) -> None:
    """Write the configuration, prompts and shards of responses."""
    config, n_prompts = run_config(*sizes), sizes[0]
    at, rng = tables(folder, config), np.random.default_rng(0)
    write_atomically(at["config"], lambda partial: partial.write_text(config.model_dump_json()))
    text = " ".join(f"word{rng.integers(10_000)}" for _ in range(200_000))
    length = CHARACTERS_PER_TOKEN * PROMPT_TOKENS
    starts = rng.integers(len(text) - length, size=n_prompts)
    prompt_ids = [f"prompt-{number}" for number in range(n_prompts)]
    prompts = {"prompt_id": prompt_ids, "prompt": [text[start : start + length] for start in starts]}
    write_table(pl.DataFrame(prompts), at["prompts"], {})
    write_table(pl.DataFrame({"update": [0], "seconds": [1.0]}), at["training"], {"beta": 0.1})
    for name, own in zip(shard_names("responses", N_SHARDS), np.array_split(prompt_ids, N_SHARDS), strict=True):
        frame = random_responses(own.tolist(), text, sizes[1], sizes[2], rng)
        facts = {"seed": 0, "model_sha256": "stand-in", "truncated_responses": frame.height}
        sampling = config.tasks["helpful"].rollouts
        facts |= {"prompts_at_once": prompts_at_once(*sizes[:2], sampling.batch_size)}
        facts |= {"settings": sampling.model_dump()}
        write_table(frame, folder / f"{name}.parquet", facts)


def random_responses(
    prompt_ids: list[str], text: str, n_responses: int, n_tokens: int, rng: np.random.Generator
) -> pl.DataFrame:
    """Responses of the full length; few tokens are frequent and many are rare."""
    n_rows, length = len(prompt_ids) * n_responses, CHARACTERS_PER_TOKEN * n_tokens
    tokens = (VOCABULARY * rng.random((n_rows, n_tokens), dtype=np.float32) ** 4).astype(np.int32)
    starts = rng.integers(len(text) - length, size=n_rows)
    return pl.DataFrame(
        {
            "prompt_id": np.repeat(prompt_ids, n_responses),
            "sample_id": np.tile(np.arange(n_responses, dtype=np.int32), len(prompt_ids)),
            "response": [text[start : start + length] for start in starts],
            "tokens": pl.Series(tokens).arr.to_list(),
            "n_tokens": np.full(n_rows, n_tokens, dtype=np.int32),
            "log_prob": -rng.gamma(n_tokens, size=n_rows),
            "finished": np.zeros(n_rows, dtype=bool),
        }
    )


def merge(folder: Path, *sizes: int) -> None:
    """Put the shards together."""
    shards = tuple(folder / f"{name}.parquet" for name in shard_names("responses", N_SHARDS))
    script("merge_shards").merge_shards(shards, out=tables(folder, run_config(*sizes))["responses"])


def score(folder: Path, *sizes: int) -> None:
    """Score them as those of a policy; the same table stands for the reference's."""
    config, module, rng = run_config(*sizes), script("score"), np.random.default_rng(1)
    at = tables(folder, config)
    module.load_reward_model = module.load_language_model = lambda folder: (None, None)
    module.weights_sha256 = lambda folder: "stand-in"
    module.reward_scores = lambda model, tokenizer, prompts, responses, finished: rng.normal(size=len(responses))
    module.encode_prompts = lambda tokenizer, prompts: [list(range(PROMPT_TOKENS)) for _ in prompts]

    def statistics(model, other, prompts, tokens, temperature):
        kl = rng.gamma(0.5, size=len(tokens))
        return type("Statistics", (), {"reference_log_prob": -kl, "kl": kl})

    module.sequence_statistics = statistics
    models = dict.fromkeys(("reward_model", "judge", "policy", "reference"), Path("stand-in"))
    corpus = settings_json(config.tasks["helpful"].corpus)
    module.score(at["responses"], at["prompts"], corpus=corpus, out=at["scores"], **models)
    at["reference"].parent.mkdir(parents=True, exist_ok=True)
    if not at["reference"].exists():
        os.link(at["scores"], at["reference"])


def calibrate(folder: Path, *sizes: int) -> None:
    """The command `infalign calibrate`, which writes the whole table with one column more."""
    from infalign.cli.tables import calibrate as command

    at = tables(folder, run_config(*sizes))
    command(at["reference"], at["scores"], out=folder / "calibrated.parquet", leave_one_out=True)


def objective(folder: Path, *sizes: int) -> None:
    """What a policy's training reads and calibrates."""
    from infalign.alignment.objectives import build_objective

    path = tables(folder, run_config(*sizes))["reference"]
    build_objective(read_table(path, ["prompt_id", "sample_id", "reward"], also=()), "identity", kl=0.5)


def offline_frontier(folder: Path, *sizes: int) -> None:
    """The offline frontier of the scored rollouts."""
    run = run_config(*sizes)
    at = tables(folder, run)
    module, out = script("offline_frontier"), folder / "offline.parquet"
    blocks = {name: settings_json(getattr(run, name)) for name in ("theory", "evaluation")}
    module.offline_frontier(at["reference"], **blocks, task="helpful", out=out)


def calibration_quality(folder: Path, *sizes: int) -> None:
    """The block `calibration`, with one KL budget."""
    at = tables(folder, run_config(*sizes))
    arguments = (at["config"], at["reference"], at["scores"])
    script("calibration_quality").calibration_quality(*arguments, task="helpful", out=folder / "calibration")


def evaluate(folder: Path, *sizes: int) -> None:
    """Metrics of the policy against the reference."""
    at = tables(folder, run_config(*sizes))
    outputs = {"out": folder / "metrics.parquet", "prompts_out": folder / "prompt_metrics.parquet"}
    module = script("evaluate")
    module.evaluate(at["config"], offline=folder / "offline.parquet", tasks=at["tasks"], **outputs)


def best_of_n(folder: Path, *sizes: int) -> None:
    """Best-of-N of the reference."""
    at = tables(folder, run_config(*sizes))
    module, out = script("evaluate_best_of_n"), folder / "best_of_n.parquet"
    module.evaluate_best_of_n(at["config"], tasks=at["tasks"], out=out)


STAGES: dict[str, Callable[..., None]] = {
    "generate": generate,
    "merge": merge,
    "score": score,
    "objective": objective,
    "offline_frontier": offline_frontier,
    "evaluate": evaluate,
    "best_of_n": best_of_n,
    "calibrate": calibrate,
    "calibration_quality": calibration_quality,
}

if __name__ == "__main__":
    run_command(memory)
