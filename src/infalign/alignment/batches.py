"""Batches of sampled responses: drawn, scored and measured before an update."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import polars as pl
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from infalign.alignment.job import PolicyJob
from infalign.alignment.sequences import Sequences, chunks, token_distributions, token_features
from infalign.alignment.training import Learner, prompt_rows
from infalign.errors import InputError
from infalign.language.generation import TokenSamples, sample_tokens
from infalign.language.models import encode_prompts
from infalign.language.sampling_engines import Draws
from infalign.records.methods import PPOSettings

ScoreFunction = Callable[[Sequence[str], Sequence[str], Sequence[bool]], np.ndarray]
# Of the learner, and the prompt ids and prompts (tokens) of an update: the responses of this process's part.
Draw = Callable[["Learner[PPOSettings]", Sequence[str], Sequence[list[int]]], Draws]
# Independent random streams of one update; stream 0 orders the prompts (`prompt_rows`).
STREAMS = {"sampling": 1, "minibatches": 2, "anchor": 3, "best": 4}


class Maximised(Protocol):
    """What a policy maximises: E[values] − beta·KL(policy ‖ reference); see `objectives`."""

    @property
    def beta(self) -> float: ...

    @property
    def fingerprint(self) -> str: ...

    def values(
        self, prompt_ids: Sequence[str], rewards: np.ndarray, reference_log_probs: np.ndarray | None = None
    ) -> np.ndarray: ...


@dataclass(frozen=True)
class OnlineTask:
    """Prompts, their scoring and the random draws of a method that samples while it trains.

    Parameters
    ----------
    prompts : polars.DataFrame
        Columns prompt_id and prompt (the text up to where the response starts); without rows an InputError.
    score_fn : Callable
        Of prompts, responses (texts) and finished (bools): rewards, shape (n,).
    seed : int
        At least 0; all draws depend only on it and the number of the update.
    temperature : float
        Of sampling, above 0; the policy is the distribution at this temperature.
    """

    tokenizer: PreTrainedTokenizerBase
    prompts: pl.DataFrame
    score_fn: ScoreFunction
    seed: int
    max_new_tokens: int
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.prompts.is_empty():
            raise InputError("the training needs at least one training prompt, got none; check the split")

    @classmethod
    def of_job(cls, job: PolicyJob, tokenizer: PreTrainedTokenizerBase) -> OnlineTask:
        """Read the task of one training job."""
        return cls(
            tokenizer,
            job.training_prompts(),
            job.scorer(),
            job.specification.seed,
            job.sampling.max_new_tokens,
            job.sampling.temperature,
        )

    @property
    def identity(self) -> list[object]:
        """Everything the draws depend on, as JSON takes it."""
        texts = (self.prompts["prompt_id"].to_list(), self.prompts["prompt"].to_list())
        return [self.seed, self.max_new_tokens, self.temperature, *texts]

    def rng(self, learner: Learner, stream: str) -> np.random.Generator:
        """Make the generator of a stream of STREAMS at the learner's update."""
        return np.random.default_rng([self.seed, learner.step, STREAMS[stream]])

    def rows(self, learner: Learner) -> np.ndarray:
        """Choose the prompts of this update, each once: rows of `prompts`."""
        return prompt_rows(self.prompts.height, learner.settings.prompts_per_update, self.seed, learner.step)

    def texts(self, rows: np.ndarray) -> tuple[list[str], list[str]]:
        """Look up prompt_ids and prompts of some rows."""
        ids, prompts = (self.prompts[name].to_list() for name in ("prompt_id", "prompt"))
        return [ids[row] for row in rows], [prompts[row] for row in rows]

    def sample(
        self, learner: Learner, model: PreTrainedModel, prompts: Sequence[list[int]], uniforms: np.ndarray
    ) -> TokenSamples:
        """Draw a response to each prompt (tokens) from one of the learner's models; see `sample_tokens`."""
        with learner.autocast(), learner.processes.whole(model):
            return sample_tokens(
                model,
                prompts,
                uniforms,
                eos_id=int(self.tokenizer.eos_token_id),
                max_new_tokens=self.max_new_tokens,
                temperature=learner.temperature,
            )

    def draw(self, learner: Learner, ids: Sequence[str], prompts: Sequence[list[int]]) -> Draws:
        """Draw this process's part with the numbers that a single process would use for it; a `Draw`."""
        part = learner.processes.part(np.arange(len(prompts)))
        uniforms = self.rng(learner, "sampling").random((len(prompts), self.max_new_tokens))[part]
        samples = self.sample(learner, learner.policy, [prompts[row] for row in part], uniforms)
        log_prob = [float(log_probs.sum(dtype=np.float64)) for log_probs in samples.log_probs]
        return Draws(samples.tokens, log_prob, samples.finished)

    def score(self, prompts: Sequence[str], responses: list[list[int]], finished: Iterable[bool]) -> np.ndarray:
        """Score responses, given as tokens; rewards, shape (n,)."""
        texts = self.tokenizer.batch_decode(responses, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return np.asarray(self.score_fn(list(prompts), texts, list(finished)), dtype=float)


@dataclass
class Batch(Sequences):
    """Sampled responses and what was measured when they were sampled.

    Parameters
    ----------
    finished, rewards, drawn_log_prob, values : ndarray, shape (n,)
        Whether the response ended before the maximal length; its reward, its log-probability in nats according
        to the engine that drew it, and the objective's value of its reward.
    tokens : dict of str to Tensor, shape (tokens,) each
        Measures of the response tokens; see `measure_tokens`.
    """

    finished: np.ndarray
    rewards: np.ndarray
    drawn_log_prob: np.ndarray
    values: np.ndarray = field(default_factory=lambda: np.zeros(0))
    tokens: dict[str, torch.Tensor] = field(default_factory=dict)

    def padded(self, name: str) -> np.ndarray:
        """Spread a token array out to (n, T) float64, 0 past the end of a response."""
        padded = np.zeros((len(self.lengths), self.lengths.max()))
        padded[np.arange(padded.shape[1]) < self.lengths[:, None]] = self.tokens[name].cpu().numpy()
        return padded

    def flat(self, padded: np.ndarray, device: torch.device) -> torch.Tensor:
        """Invert `padded`, in float32."""
        present = np.arange(padded.shape[1]) < self.lengths[:, None]
        return torch.tensor(padded[present], dtype=torch.float32, device=device)


def sample_batch(learner: Learner, task: OnlineTask, objective: Maximised, draw: Draw | None = None) -> Batch:
    """Draw the responses of update `learner.step`, score them and measure them under both models.

    Each process draws, scores and measures a part; all get the whole batch, its rows grouped by prompt. Without
    `draw`, `OnlineTask.draw` draws. A reward that is not finite is an InputError.
    """
    ids, texts = task.texts(np.repeat(task.rows(learner), learner.settings.samples_per_prompt))
    encoded = encode_prompts(task.tokenizer, texts)
    part = learner.processes.part(np.arange(len(encoded)))
    samples = (draw or task.draw)(learner, ids, encoded)
    scores = task.score([texts[row] for row in part], samples.tokens, samples.finished)
    columns = (samples.tokens, samples.finished, scores, samples.log_prob)
    rows = learner.processes.gather(list(zip(*columns, strict=True)))
    tokens, finished, rewards, log_prob = (list(column) for column in zip(*rows, strict=True))
    batch = Batch(encoded, tokens, np.array(finished), np.array(rewards), np.array(log_prob))
    check_rewards(batch.rewards, ids, learner.step)
    batch.tokens = measure_tokens(learner, batch)
    batch.values = objective.values(ids, batch.rewards, batch.padded("reference_log_probs").sum(axis=1))
    return batch


def check_rewards(rewards: np.ndarray, ids: Sequence[str], step: int) -> None:
    """Raise InputError unless every reward of update `step` is finite."""
    bad = np.flatnonzero(~np.isfinite(rewards))
    if len(bad):
        raise InputError(
            f"the reward of {len(bad)} of {len(rewards)} responses at update {step} is not finite: got "
            f"{rewards[bad[0]]} for prompt_id {ids[bad[0]]!r}; check the reward model"
        )


@torch.no_grad()
def measure_tokens(learner: Learner[PPOSettings], batch: Batch) -> dict[str, torch.Tensor]:
    """Measure every response token under policy and reference, before the update: flat tensors, shape (tokens,).

    These are log_probs, reference_log_probs, values (of the value head), kl and entropy (of the distribution at the
    token's position), in nats; and reference_features, shape (tokens, hidden).
    """
    n_tokens = int(batch.offsets[-1])
    hidden = learner.reference.config.hidden_size
    names = ("log_probs", "reference_log_probs", "values", "kl", "entropy")
    out = {name: torch.zeros(n_tokens, device=learner.device) for name in names}
    out["reference_features"] = torch.zeros(n_tokens, hidden, device=learner.device)
    part = learner.processes.part(np.arange(len(batch.prompts)))
    for chunk in chunks(batch, part, learner.settings.chunk_size, learner.device):
        with learner.autocast():
            features = token_features(learner.policy, chunk)
            reference_features = token_features(learner.reference, chunk)
            log_p = token_distributions(learner.policy, features, learner.temperature)
            log_q = token_distributions(learner.reference, reference_features, learner.temperature)
        p, at = log_p.exp(), chunk.targets[:, None]
        out["log_probs"][chunk.flat] = log_p.gather(1, at)[:, 0]
        out["reference_log_probs"][chunk.flat] = log_q.gather(1, at)[:, 0]
        out["values"][chunk.flat] = learner.trained["value_head"](features.float())[:, 0]
        out["kl"][chunk.flat] = (p * (log_p - log_q)).sum(-1)
        out["entropy"][chunk.flat] = -(p * log_p).sum(-1)
        out["reference_features"][chunk.flat] = reference_features.float()
    learner.processes.add(out.values())  # a process's own part; zeros elsewhere
    return out
