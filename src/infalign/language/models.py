"""Tokenizers and language models: build, load, save.

Every model is read from and written to safetensors; no remote code is ever run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from infalign.errors import InputError

if TYPE_CHECKING:
    from infalign.records.task import Base, FromConfig

BEGIN, END, PAD, UNKNOWN = "<s>", "</s>", "<pad>", "<unk>"


def train_tokenizer(texts: Sequence[str], vocabulary_size: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer, which adds no special tokens by itself.

    Texts of ASCII characters only get an ASCII alphabet, so that a small vocabulary is not spent on bytes
    that never occur; a character outside it becomes the unknown token. The vocabulary size counts special tokens and
    alphabet too; the vocabulary is smaller when the texts give fewer merges.

    Examples
    --------
    >>> tokenizer = train_tokenizer(["tea and tea"], 110)
    >>> tokenizer.decode(tokenizer("tea and tea")["input_ids"])
    'tea and tea'
    """
    ascii_only = all(text.isascii() for text in texts)
    characters = pre_tokenizers.ByteLevel.alphabet()
    alphabet = [c for c in characters if c.isascii() or c in "ĠĊ"] if ascii_only else characters
    if not texts or vocabulary_size < len(alphabet) + 4:
        raise InputError(
            f"a tokenizer needs texts and a vocabulary of at least {len(alphabet) + 4} tokens for them, got "
            f"{len(texts)} texts and vocabulary_size {vocabulary_size}; raise vocabulary_size"
        )
    tokenizer = Tokenizer(BPE(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[PAD, BEGIN, END, UNKNOWN],
        initial_alphabet=sorted(alphabet),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        unk_token=UNKNOWN,
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )


def encode_prompts(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> list[list[int]]:
    """Tokens of prompts, with the begin token only if the tokenizer adds it by itself."""
    encoded = tokenizer(list(prompts), return_attention_mask=False)["input_ids"] if prompts else []
    return [tokens[:-1] if tokens and tokens[-1] == tokenizer.eos_token_id else tokens for tokens in encoded]


def encode_responses(
    tokenizer: PreTrainedTokenizerBase, responses: Sequence[str], finished: Sequence[bool] | None = None
) -> list[list[int]]:
    """Tokens of responses, each followed by the end-of-sequence token unless `finished` is False for it.

    Prompts and responses are tokenized apart, so no token straddles the border between them.
    """
    if not responses:
        return []
    encoded = tokenizer(list(responses), add_special_tokens=False, return_attention_mask=False)["input_ids"]
    ends = [True] * len(encoded) if finished is None else finished
    return [[*tokens, tokenizer.eos_token_id] if end else tokens for tokens, end in zip(encoded, ends, strict=True)]


def check_context(model: PreTrainedModel, sequences: Sequence[Sequence[int]], max_new_tokens: int) -> None:
    """Raise InputError for an empty sequence, or one that with the new tokens is longer than the model's context."""
    lengths = [len(sequence) for sequence in sequences]
    if min(lengths, default=1) == 0:
        raise InputError(f"prompt {lengths.index(0)} has no tokens; every prompt needs at least one")
    context = getattr(model.config, "max_position_embeddings", None)
    longest = max(lengths, default=0)
    if context is not None and longest + max_new_tokens > context:
        raise InputError(
            f"the longest prompt has {longest} tokens, which with {max_new_tokens} new tokens exceeds the "
            f"model's context of {context}; shorten or drop long prompts, or raise the context to "
            f"{longest + max_new_tokens}"
        )


@contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[PreTrainedModel]:
    """Switch a model to evaluation (no dropout) for a while, then back."""
    was_training = model.training
    model.eval()
    try:
        yield model
    finally:
        model.train(was_training)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's generator seeded for a while; the caller's state comes back afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def default_device() -> torch.device:
    """Device models live on: the GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def new_language_model(sizes: FromConfig, tokenizer: PreTrainedTokenizerBase, *, seed: int) -> PreTrainedModel:
    """Make a small Llama with random weights in float32, its vocabulary and special tokens those of the tokenizer."""
    if sizes.hidden_size % (2 * sizes.n_heads):
        raise InputError(
            f"from_config.hidden_size must be a multiple of 2 × n_heads = {2 * sizes.n_heads} (rotary "
            f"embeddings need an even head size), got {sizes.hidden_size}; change one of them"
        )
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=sizes.hidden_size,
        num_hidden_layers=sizes.n_layers,
        num_attention_heads=sizes.n_heads,
        num_key_value_heads=sizes.n_heads,
        intermediate_size=sizes.intermediate_size,
        max_position_embeddings=sizes.context,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with seeded(seed):
        model: Any = LlamaForCausalLM(config)
    return model.to(default_device())


def _check_folder(source: str, kind: str) -> None:
    """A local folder must hold a model in safetensors; anything else is taken for a hub name."""
    folder = Path(source)
    if not folder.is_dir():
        raise InputError(f"{kind}: no folder {source}; give a folder with config.json and *.safetensors")
    if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
        raise InputError(
            f"{kind}: {source} holds no config.json with *.safetensors; only safetensors are read "
            "(convert other weights with save_pretrained(safe_serialization=True))"
        )


@contextmanager
def loading(source: str, revision: str | None) -> Iterator[dict[str, Any]]:
    """Arguments for transformers' from_pretrained, and one clear error for what goes wrong in it."""
    if revision is None:
        _check_folder(source, "model")
    try:
        yield {"revision": revision or "main", "trust_remote_code": False}
    except (OSError, ValueError) as error:  # not there, or an architecture that cannot do what is asked
        reason = str(error).strip().split("\n")[0]
        raise InputError(
            f"model {source} (revision {revision or 'local'}) could not be loaded: {reason}; check its name, "
            "its kind, the network, or give a local folder with path:"
        ) from error


def load_model(
    auto: Any, source: str, revision: str | None, seed: int, *, complete: bool = False, **options: Any
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a model by a class of transformers, and its tokenizer; weights that the files lack come from the seed.

    It is an InputError if it cannot be loaded, its tokenizer has no end token, or weights lack though `complete`.
    """
    with loading(source, revision) as arguments:
        tokenizer = AutoTokenizer.from_pretrained(source, **arguments)
        with seeded(seed):
            model, info = auto.from_pretrained(
                source,
                **arguments,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                **options,
            )
    if complete and info["missing_keys"]:
        raise InputError(
            f"model {source}: its files lack {', '.join(sorted(info['missing_keys']))}, which would be drawn at "
            "random; give a model that was trained for this, or train it here with training:"
        )
    if tokenizer.eos_token_id is None and not reads_both_ways(model):
        raise InputError(f"model {source}: its tokenizer has no end-of-sequence token; set eos_token in its files")
    if tokenizer.pad_token_id in (None, tokenizer.eos_token_id):
        _add_padding(tokenizer, model)
    return model.to(default_device()), tokenizer


def reads_both_ways(model: PreTrainedModel) -> bool:
    """Say whether a model is a classifier whose tokens see those after them, such as DistilBERT.

    Causal classifiers are those with a linear head `score`, which is read at the last token.
    """
    is_classifier = "ForSequenceClassification" in type(model).__name__
    return is_classifier and not isinstance(getattr(model, "score", None), torch.nn.Linear)


def _add_padding(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> None:
    """Give a padding token that differs from the end token, since rewards are read at the latter."""
    tokenizer.add_special_tokens({"pad_token": PAD})
    embeddings: Any = model.get_input_embeddings()
    if len(tokenizer) > embeddings.num_embeddings:
        model.resize_token_embeddings(len(tokenizer))
    model.config.pad_token_id = tokenizer.pad_token_id


def load_language_model(
    source: str | Path, revision: str | None = None, *, seed: int = 0
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a causal language model and its tokenizer, in float32, from a folder or, with a revision, from the hub."""
    return load_model(AutoModelForCausalLM, str(source), revision, seed)


def outline(folder: str | Path, auto: Any) -> PreTrainedModel:
    """Model of a folder without its weights, on the device `meta`, by a class such as AutoModelForCausalLM."""
    try:
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
        with torch.device("meta"):
            return auto.from_config(config)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: no model to be read: {error}; give the folder of a saved model") from error


def load_tokenizer(source: str | Path, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Load a tokenizer from a local folder, or from the hub when `revision` is given; InputError if there is none."""
    try:
        return AutoTokenizer.from_pretrained(str(source), revision=revision or "main", trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"tokenizer {source} (revision {revision or 'local'}) could not be loaded: {error}; check its name, "
            "the network, or give a local folder with path:"
        ) from error


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: str | Path) -> None:
    """Write a model (safetensors) and its tokenizer to a folder."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def start_model(
    base: Base,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    reference: str | Path | None = None,
    seed: int,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Language model that a `base` block of the configuration names.

    `from_config` needs the tokenizer, and `reference: true` the folder of the task's reference policy.
    """
    if base.published is not None:
        return load_language_model(*base.published, seed=seed)
    if base.reference:
        if reference is None:
            raise InputError("base.reference: true needs the folder of the reference policy; give it")
        return load_language_model(reference, seed=seed)
    if tokenizer is None or base.from_config is None:
        raise InputError("base.from_config needs a tokenizer; train one with train_tokenizer first")
    return new_language_model(base.from_config, tokenizer, seed=seed), tokenizer
