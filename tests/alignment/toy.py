"""A policy whose every response can be listed: four tokens, at most three a response, two prompts."""

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from infalign.alignment.batches import OnlineTask
from infalign.alignment.training import Destination

END = 3
LONGEST = 3


@dataclass
class Toy:
    reference: GPT2LMHeadModel
    tokenizer: PreTrainedTokenizerFast
    prompts: pl.DataFrame
    responses: list[list[int]]  # all 40
    rewards: dict[str, float]  # by prompt and response text

    def score(self, prompts, responses, finished):
        return np.array([self.rewards[f"{p}|{r}"] for p, r in zip(prompts, responses, strict=True)])

    def log_probs(self, model, prompt: str) -> np.ndarray:
        """Exact log-probability of every response, (40,)."""
        start = self.tokenizer(prompt)["input_ids"]
        out = np.zeros(len(self.responses))
        with torch.no_grad():
            for i, response in enumerate(self.responses):
                logits = model(torch.tensor([start + response])).logits[0, len(start) - 1 : -1]
                log_p = torch.log_softmax(logits.double(), dim=-1)
                out[i] = log_p[torch.arange(len(response)), torch.tensor(response)].sum()
        return out

    def values(self, objective, prompt: str) -> np.ndarray:
        texts = self.tokenizer.batch_decode(self.responses, skip_special_tokens=True)
        rewards = self.score([prompt] * len(texts), texts, None)
        return objective.values([f"id-{prompt}"] * len(texts), rewards)


def online_task(toy: Toy, score=None, seed: int = 0) -> OnlineTask:
    """Prompts and rewards of the toy."""
    return OnlineTask(toy.tokenizer, toy.prompts, score or toy.score, seed, LONGEST)


def destination(folder: Path, name: str = "run") -> Destination:
    """The policy goes to `folder`/`name`, checkpoints to `folder`/scratch."""
    return Destination(folder / name, folder / "scratch", progress=False)


def list_responses() -> list[list[int]]:
    """Every response: up to two tokens and the end, or three without it."""
    bodies = [list(body) for n in range(LONGEST) for body in itertools.product(range(END), repeat=n)]
    return [[*body, END] for body in bodies] + [list(b) for b in itertools.product(range(END), repeat=LONGEST)]


def make_toy(**sizes) -> Toy:
    """The policy; `sizes` of its GPT-2 differ from those here."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_word_tokenizer(),
        eos_token="</s>",
        pad_token="</s>",
        clean_up_tokenization_spaces=False,
    )
    torch.manual_seed(1)
    ends = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), END)
    config = GPT2Config(
        **{"vocab_size": 4, "n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 8} | sizes,
        initializer_range=0.1,
        **ends,
    )
    prompts = pl.DataFrame({"prompt_id": ["id-a", "id-b b"], "prompt": ["a", "b b"]})
    responses = list_responses()
    texts = tokenizer.batch_decode(responses, skip_special_tokens=True)
    rng = np.random.default_rng(3)
    rewards = {}
    for prompt in prompts["prompt"]:
        worth = rng.normal(size=(LONGEST, END))  # of each word at each position
        for text in texts:
            words = ["abc".index(word) for word in text.split()]
            rewards[f"{prompt}|{text}"] = float(worth[np.arange(len(words)), words].sum())
    return Toy(GPT2LMHeadModel(config).eval(), tokenizer, prompts, responses, rewards)


def _word_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "c": 2, "</s>": END}, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def score_toy(toy: Toy) -> pl.DataFrame:
    """200 scored responses of the reference to each prompt."""
    rng = np.random.default_rng(5)
    frames = []
    for prompt_id, prompt in toy.prompts.iter_rows():
        p = np.exp(toy.log_probs(toy.reference, prompt))
        drawn = rng.choice(len(p), size=200, p=p / p.sum())
        texts = toy.tokenizer.batch_decode([toy.responses[i] for i in drawn], skip_special_tokens=True)
        rewards = toy.score([prompt] * len(texts), texts, None)
        frames.append(pl.DataFrame({"prompt_id": prompt_id, "sample_id": np.arange(200), "reward": rewards}))
    return pl.concat(frames)
