"""The program in vLLM's own process: a model answers requests that come over a socket.

The process runs with the Python of vLLM's environment, which need not have this project: here only vLLM and the
standard library are imported. `infalign.language.vllm_process` starts it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

# One process, no reports to anybody, nothing from a hub; what is set already stays.
ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_CPU_KVCACHE_SPACE": "2",  # GiB, where there is no GPU; else nine tenths of the memory
    "HF_HUB_OFFLINE": "1",
}

Answer = Callable[[dict[str, Any]], dict[str, Any]]


def serve(descriptor: int) -> None:
    """Load the model that the first message (JSON) over a socket names; answer each one until the other side closes."""
    connection = Connection(descriptor)
    order = json.loads(connection.recv_bytes())
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        answer = MODELS[order["kind"]](order)
    except Exception as error:
        _send(connection, {"failed": f"{type(error).__name__}: {error}"})
        raise
    _send(connection, {})
    while True:
        try:
            request = json.loads(connection.recv_bytes())
        except EOFError:
            return
        _send(connection, answer(request))


def _send(connection: Connection, message: dict[str, Any]) -> None:
    connection.send_bytes(json.dumps(message).encode())


def _engine(order: dict[str, Any], **options: Any) -> Any:
    """Model of a local folder, in float32 unless the order says otherwise, with no defaults of its own for sampling."""
    import torch
    from vllm import LLM

    if "gpu_memory" in order:
        options["gpu_memory_utilization"] = order["gpu_memory"]

    return LLM(
        model=order["model"],
        load_format="safetensors",
        use_tqdm_on_load=False,
        trust_remote_code=False,
        dtype=order.get("dtype", "float32"),
        seed=0,
        enforce_eager=not torch.cuda.is_available(),
        **options,
    )


def language_model(order: dict[str, Any]) -> Answer:
    """Sampler: a request holds `prompts` (tokens) and for each its `seeds`, one a response.

    Or it holds `reload`: the weights are read anew from the model's folder.
    """
    from vllm import SamplingParams

    engine = _engine(
        order,
        runner="generate",
        skip_tokenizer_init=True,  # the pooling runner does not start without one
        max_model_len=order["context"],
        max_num_seqs=order["batch_size"],
        generation_config="vllm",
        logprobs_mode="processed_logprobs",  # of the distribution that is drawn from
    )
    common = {
        "temperature": order["temperature"],
        "max_tokens": order["max_new_tokens"],
        "stop_token_ids": [order["eos_id"]],
        "ignore_eos": True,  # what the model's files name as such; ours is the tokenizer's
        "logprobs": 0,  # of the drawn token alone
        "detokenize": False,
    }

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if "reload" in request:
            return _reload(engine)
        pairs = [
            ({"prompt_token_ids": prompt}, SamplingParams(seed=seed, **common))
            for prompt, seeds in zip(request["prompts"], request["seeds"], strict=True)
            for seed in seeds
        ]
        prompts, parameters = map(list, zip(*pairs, strict=True))
        responses = [out.outputs[0] for out in engine.generate(prompts, parameters, use_tqdm=False)]
        return {
            "tokens": [list(response.token_ids) for response in responses],
            "log_prob": [response.cumulative_logprob for response in responses],
            "finished": [response.finish_reason == "stop" for response in responses],
        }

    return answer


def _reload(engine: Any) -> dict[str, Any]:
    """Read the weights anew and forget the keys and values of prompts, which are those of the old weights."""
    import torch

    engine.collective_rpc("reload_weights")
    if not torch.cuda.is_available():
        engine.apply_model(_pack_output_layer)
    if not engine.reset_prefix_cache():
        raise RuntimeError("the cache of prompts could not be emptied after the weights had changed")
    return {}


def _pack_output_layer(model: Any) -> None:
    """Pack the output layer anew: where it is the embedding too, reloading leaves the CPU's copy of it as it was."""
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    for layer in model.modules():
        if isinstance(layer, ParallelLMHead):
            layer.quant_method.process_weights_after_loading(layer)


def reward_model(order: dict[str, Any]) -> Answer:
    """Scorer: a request holds `sequences` (tokens); the answer has the `logits` of the head for each."""
    from vllm import PoolingParams

    engine = _engine(order, runner="pooling", convert="classify", max_model_len=-1)
    raw = PoolingParams(use_activation=False)

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        prompts = [{"prompt_token_ids": tokens} for tokens in request["sequences"]]
        outputs = engine.classify(prompts, pooling_params=raw, use_tqdm=False)
        return {"logits": [list(out.outputs.probs) for out in outputs]}

    return answer


MODELS: dict[str, Callable[[dict[str, Any]], Answer]] = {
    "language_model": language_model,
    "reward_model": reward_model,
}

if __name__ == "__main__":
    serve(int(sys.argv[1]))
