"""Training responses drawn by vLLM, which reads the policy's weights anew before each update."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from infalign.alignment.batches import Draw, OnlineTask
from infalign.alignment.processes import Processes
from infalign.alignment.training import Learner, save_weights
from infalign.language.models import check_context, encode_prompts
from infalign.language.sampling_engines import Draws, VllmSampler, response_seed, vllm_sampler
from infalign.records.methods import ENGINE_MEMORY, PPOSettings

MOST_AT_ONCE = 512  # responses that vLLM writes at the same time


def drawing_seeds(seed: int, step: int, ids: Sequence[str]) -> list[int]:
    """Seed each response of update `step`, from 1 to 2^62.

    The seed depends on the training's seed, the update, the response's prompt_id in `ids` and its number among the
    responses to that prompt.

    Examples
    --------
    >>> seeds = drawing_seeds(0, 3, ["a", "a", "b"])
    >>> len(set(seeds)), seeds[0] == drawing_seeds(0, 3, ["b", "a"])[1]
    (3, True)
    """
    numbers: Counter[str] = Counter()
    seeds = []
    for prompt_id in ids:
        seeds.append(response_seed(seed, f"update {step}/{prompt_id}", numbers[prompt_id]))
        numbers[prompt_id] += 1
    return seeds


@contextmanager
def draw_by_vllm(task: OnlineTask, folder: Path, processes: Processes) -> Iterator[Draw]:
    """Let vLLM draw, in a process beside each process of the training; these end with the block.

    The first draw starts vLLM: a training without updates needs none. `folder` gets the policy's weights before
    each draw; all processes must see it, and it is removed at the end. The first draw raises an InputError where
    a prompt is too long, or vLLM is not installed or cannot run the model.
    """
    prompts = encode_prompts(task.tokenizer, task.prompts["prompt"].to_list())
    sampler: VllmSampler | None = None
    with ExitStack() as stack:
        if processes.main:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)

        def draw(learner: Learner[PPOSettings], ids: Sequence[str], rows: Sequence[list[int]]) -> Draws:
            nonlocal sampler
            save_weights(learner, folder)
            processes.wait()
            part = processes.part(np.arange(len(rows)))
            if sampler is None:
                check_context(learner.policy, prompts, task.max_new_tokens)
                sampler = stack.enter_context(
                    vllm_sampler(
                        folder,
                        context=max(map(len, prompts)) + task.max_new_tokens,
                        eos_id=int(task.tokenizer.eos_token_id),
                        max_new_tokens=task.max_new_tokens,
                        temperature=learner.temperature,
                        batch_size=min(len(part), MOST_AT_ONCE),
                        dtype=learner.settings.precision,
                        gpu_memory=learner.settings.engine_memory or ENGINE_MEMORY,
                        device=learner.device,
                    )
                )
            else:
                sampler.reload()
            seeds = drawing_seeds(task.seed, learner.step, ids)
            return sampler.samples([rows[row] for row in part], [[seeds[row]] for row in part])

        yield draw
