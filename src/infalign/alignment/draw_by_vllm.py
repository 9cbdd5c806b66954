"""Training responses drawn by vLLM, which reads the policy's weights anew before each update."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from infalign.alignment.processes import Processes
from infalign.alignment.training import Learner, save_weights
from infalign.language.models import check_context
from infalign.language.sampling_engines import Samples, VllmSampler, response_seed, vllm_sampler
from infalign.records.methods import ENGINE_MEMORY, PPOSettings

MOST_AT_ONCE = 512  # responses that vLLM writes at the same time

# Of the learner, the prompt ids and the prompts (tokens) of an update's rows; the responses of this process's part.
Draw = Callable[["Learner[PPOSettings]", Sequence[str], Sequence[list[int]]], Samples]


def drawing_seeds(seed: int, step: int, ids: Sequence[str]) -> list[int]:
    """Seed of each response of an update: of the training's seed, the update, its prompt and its number there.

    Parameters
    ----------
    seed : of the training.
    step : the update.
    ids : prompt_id of each row of the whole update; a prompt's responses are numbered in their order.

    Returns
    -------
    As many as ids, from 1 to 2^62.

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
def draw_by_vllm(
    prompts: Sequence[list[int]],
    folder: Path,
    processes: Processes,
    *,
    eos_id: int,
    seed: int,
    max_new_tokens: int,
) -> Iterator[Draw]:
    """Let vLLM draw, in a process beside each process of the training; they end with the block.

    The first draw starts it, so that a training without updates needs none.

    Parameters
    ----------
    prompts : every prompt of the training (tokens).
    folder : where the policy's weights are written before each draw; all processes must see it. Removed at the end.
    processes : that train together.
    eos_id : end-of-sequence token.
    seed : of the training.
    max_new_tokens : longest response.

    Yields
    ------
    Of a learner, prompt ids and prompts of an update's rows, the responses of this process's part.

    Raises
    ------
    InputError
        When the first responses are drawn: a prompt is too long, vLLM is not there or cannot run the model.
    """
    sampler: VllmSampler | None = None
    with ExitStack() as stack:
        if processes.main:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)

        def draw(learner: Learner[PPOSettings], ids: Sequence[str], rows: Sequence[list[int]]) -> Samples:
            nonlocal sampler
            save_weights(learner, folder)
            processes.wait()
            own = processes.part(np.arange(len(rows)))
            if sampler is None:
                check_context(learner.policy, prompts, max_new_tokens)
                sampler = stack.enter_context(
                    vllm_sampler(
                        folder,
                        context=max(map(len, prompts)) + max_new_tokens,
                        eos_id=eos_id,
                        max_new_tokens=max_new_tokens,
                        temperature=learner.temperature,
                        batch_size=min(len(own), MOST_AT_ONCE),
                        dtype=learner.settings.precision,
                        gpu_memory=learner.settings.engine_memory or ENGINE_MEMORY,
                        device=learner.device,
                    )
                )
            else:
                sampler.reload()
            seeds = drawing_seeds(seed, learner.step, ids)
            return sampler.samples([rows[row] for row in own], [[seeds[row]] for row in own])

        yield draw
