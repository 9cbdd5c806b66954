"""The block `judge`: a language model behind a server that compares responses, and the prompts it is asked with."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import yaml
from pydantic import Field, field_validator, model_validator

from infalign.errors import InputError
from infalign.mathematics.procedures import Procedure, parse_procedure
from infalign.records.block import Block, Count, unknown_task
from infalign.records.task import FromConfig, Training

PROMPTS = Path(__file__).parent / "prompts"
PRINCIPLE_OF = {  # name of a corpus, or its source, to the principle that its responses are compared by
    **dict.fromkeys(("helpful", "helpful-base"), "helpful"),
    **dict.fromkeys(("harmless", "harmless-base"), "harmless"),
    **dict.fromkeys(("summaries", "tldr"), "summary"),
}


class TrainedJudge(Block):
    """A small language model, made from scratch, that learns to answer the prompt's questions.

    It learns from the pairs that the tasks' judges learn from.
    """

    from_config: FromConfig
    vocabulary_size: Count
    n_pairs: Count = Field(description="of each judged task; each is asked in one order")
    pretraining: Training | None = Field(None, description="language modelling of questions and answers first")
    training: Training = Field(description="of the answers")
    seed: int = Field(0, description="of the weights, the pairs and their orders")


class LanguageJudge(Block):
    """A language model behind an OpenAI-compatible server, asked which of two responses is better.

    The server is there already (`server`) or is started for the questions (`serve`). Its key, where it needs one, comes
    from the environment variable OPENAI_API_KEY alone.
    """

    server: str | None = Field(
        None, description="address of the server's API, mostly ending in /v1, e.g. http://127.0.0.1:8000/v1"
    )
    serve: str | None = Field(
        None,
        description="instead of server: command that serves {model} on 127.0.0.1 at {port} while questions are asked, "
        "e.g. vllm serve {model} --port {port}",
    )
    model: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="name by which the server knows the model"
    )
    trained: TrainedJudge | None = Field(
        None, description="instead of model, with serve: the run trains one from scratch"
    )
    prompt: str = Field(
        "pairwise-v1", description="a file of src/infalign/studies/language_judge/prompts, without ending"
    )
    principles: dict[str, Annotated[str, Field(min_length=1)]] = Field(
        {}, description="by task: what its responses are compared by; default: the prompt's for the corpus"
    )
    tasks: Annotated[list[str], Field(min_length=1)] | None = Field(None, description="default: all")
    policies: Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="names as in the tables, e.g. ppo-raw-kl0.50-s0; default: all of these tasks"
    )
    procedures: Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="none, bon(n) or won(n); default: none and that of each task's goal"
    )
    n_prompts: Count | None = Field(
        None, description="evaluation prompts, the first in the order of their ids; default: all"
    )
    n_pairs: Count = Field(1, description="pairs of responses to a prompt; each is asked in both orders")
    max_tokens: Count = Field(64, description="longest reply; one that is cut off cannot be read")
    temperature: Annotated[float, Field(ge=0)] = 0.0
    timeout: Annotated[float, Field(gt=0)] = Field(60.0, description="seconds that one try may be silent")
    retries: Annotated[int, Field(ge=0, le=20)] = Field(
        5, description="further tries after 408, 409, 429, 5xx, silence or a broken connection, ever later"
    )
    concurrency: Count = Field(4, description="questions asked at once")

    @model_validator(mode="after")  # of the whole block: a message on one field would show what it holds
    def _one_server(self) -> LanguageJudge:
        if (self.server is None) == (self.serve is None):
            raise ValueError("give either server, the address of one that runs, or serve, what starts one")
        if (self.model is None) == (self.trained is None):
            raise ValueError("give either model, its name, or trained, how to train one")
        if self.trained is not None and self.serve is None:
            raise ValueError("a model that the run trains is served by the run: give serve, not server")
        if self.server is not None:
            _check_address(self.server)
        if self.serve is not None:
            _check_command(self.serve)
        return self

    @property
    def origin(self) -> str:
        """Where replies come from: the server's address, or the command that starts it."""
        return self.server.rstrip("/") if self.server is not None else str(self.serve)

    @field_validator("prompt")
    @classmethod
    def _prompt_exists(cls, name: str) -> str:
        names = prompt_names()
        if name not in names:
            raise ValueError(f"unknown prompt; the prompts are {', '.join(names)}")
        return name

    @field_validator("procedures")
    @classmethod
    def _procedures_pick_from_groups(cls, texts: list[str] | None) -> list[str] | None:
        parsed = [parse_procedure(text) for text in texts or []]
        other = [procedure.text for procedure in parsed if not picks_from_groups(procedure)]
        if other:
            raise ValueError(f"a language model judges none, bon(n) and won(n); remove {', '.join(other)}")
        return None if texts is None else list(dict.fromkeys(procedure.text for procedure in parsed))


def _check_address(server: str) -> None:
    parts = urlsplit(server)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("server must be an address such as http://127.0.0.1:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(
            "server must have no key, query or fragment in it, since it is recorded; give the key as the "
            "environment variable OPENAI_API_KEY"
        )


def _check_command(serve: str) -> None:
    try:
        words = shlex.split(serve)
    except ValueError as error:
        raise ValueError(f"serve is no command that a shell could read: {error}") from error
    if not any("{port}" in word for word in words):
        raise ValueError("serve must have {port} where the command takes the server's port")


def picks_from_groups(procedure: Procedure) -> bool:
    """Whether a procedure's output is a fixed one of a group of samples: none, bon and won.

    Examples
    --------
    >>> [picks_from_groups(parse_procedure(text)) for text in ("none", "won(4)", "sbon(4, 5.0)")]
    [True, True, False]
    """
    return procedure.name in ("none", "bon", "won")


@dataclass(frozen=True)
class JudgePrompt:
    """How a language model is asked.

    Attributes
    ----------
    name : str
        Of its file, with its version.
    sha256 : str
        Of the file's bytes.
    question : str
        Text with {principle}, {prompt}, {first} and {second} in it.
    principles : mapping of str to str
        Name to what responses are compared by.
    """

    name: str
    sha256: str
    question: str
    principles: Mapping[str, str]

    def ask(self, principle: str, prompt: str, first: str, second: str) -> str:
        """Write the question about two responses to a prompt; white space around the texts is left out.

        Examples
        --------
        >>> asked = read_judge_prompt("pairwise-v1").ask("brevity.", " Why {first}?", "So. ", "As it is so.")
        >>> "Measure: brevity." in asked, "Why {first}?\\n\\n=== Answer A ===\\nSo.\\n" in asked
        (True, True)
        """
        texts = {"prompt": prompt.strip(), "first": first.strip(), "second": second.strip()}
        return self.question.format(principle=principle, **texts)


def prompt_names() -> list[str]:
    """Names of the prompts that the package has."""
    return sorted(path.stem for path in PROMPTS.glob("*.yaml"))


def read_judge_prompt(name: str) -> JudgePrompt:
    """Read one of the package's prompts by its name.

    Raises
    ------
    InputError
        There is no prompt of that name.
    """
    path = PROMPTS / f"{name}.yaml"
    if not path.is_file():
        raise InputError(f"judge.prompt: unknown prompt {name!r}; the prompts are {', '.join(prompt_names())}")
    content = path.read_bytes()
    texts = yaml.safe_load(content)
    digest = hashlib.sha256(content).hexdigest()
    return JudgePrompt(name, digest, texts["question"], texts["principles"])


def principle(judge: LanguageJudge, task: str, corpus: Any) -> str | None:
    """What the responses of a task with this corpus are compared by; None where neither block nor prompt says."""
    name = PRINCIPLE_OF.get(getattr(corpus, "name", ""), PRINCIPLE_OF.get(corpus.source, ""))
    return judge.principles.get(task) or read_judge_prompt(judge.prompt).principles.get(name)


def procedures_of(judge: LanguageJudge, goal: str) -> list[str]:
    """List the procedures of a task that the language model judges, where `goal` is that of the task's goal.

    Examples
    --------
    >>> block = LanguageJudge(server="http://127.0.0.1:8000/v1", model="m")
    >>> procedures_of(block, "bon(4)")
    ['none', 'bon(4)']
    """
    return judge.procedures or list(dict.fromkeys(["none", parse_procedure(goal).text]))


def judge_problems(judge: LanguageJudge, tasks: Mapping[str, Any], goals: Mapping[str, Any]) -> list[str]:
    """Why the responses of a run with these tasks and goals cannot be compared."""
    problems = [
        f"judge.{key}: {unknown_task(name, tasks)}"
        for key, names in (("tasks", judge.tasks or []), ("principles", judge.principles))
        for name in names
        if name not in tasks
    ]
    for name in judge.tasks or tasks:
        if name in tasks and name in goals:
            problems += _task_problems(judge, name, tasks[name], goals[name].procedure)
    return problems


def _task_problems(judge: LanguageJudge, name: str, task: Any, goal: str) -> list[str]:
    problems = []
    if principle(judge, name, task.corpus) is None:
        problems.append(
            f"judge.principles: the prompt {judge.prompt} has none for the corpus of task {name}; give "
            f"judge.principles.{name}, or leave the task out of judge.tasks"
        )
    if judge.trained is not None and task.corpus.teaches != "preferences":
        problems.append(
            f"judge.trained: the corpus of task {name} has no pairs to learn from; leave the task out of judge.tasks"
        )
    available = min(task.samples.n_samples, task.rollouts.n_rollouts)
    for procedure in map(parse_procedure, procedures_of(judge, goal)):
        needed = judge.n_pairs * (procedure.n or 1)
        if not picks_from_groups(procedure):
            problems.append(
                f"judge.procedures: the goal of task {name} is {procedure.text}, but a language model judges none, "
                "bon(n) and won(n); give judge.procedures"
            )
        elif needed > available:
            problems.append(
                f"judge.n_pairs: {judge.n_pairs} pairs through {procedure.text} take {needed} responses a prompt of "
                f"policy and reference each, task {name} has {available}; lower n_pairs or raise "
                f"tasks.{name}.samples.n_samples"
            )
    if judge.n_prompts is not None and judge.n_prompts > task.corpus.n_evaluation_prompts:
        problems.append(
            f"judge.n_prompts must be at most {task.corpus.n_evaluation_prompts} "
            f"(tasks.{name}.corpus.n_evaluation_prompts), got {judge.n_prompts}"
        )
    return problems


def cache_name(judge: LanguageJudge) -> str:
    """File of a judge's replies below `results/judges/`: the model and a hash of where and how it is asked.

    Examples
    --------
    >>> cache_name(LanguageJudge(server="http://127.0.0.1:8000/v1", model="org/Model 7B"))
    'org-Model-7B-5a619fdf.jsonl'
    """
    asked = repr((judge.origin, judge.model, judge.max_tokens, judge.temperature))
    digest = hashlib.sha256(asked.encode()).hexdigest()[:8]
    assert judge.model is not None
    return f"{re.sub(r'[^A-Za-z0-9_.]+', '-', judge.model).strip('-.')}-{digest}.jsonl"
