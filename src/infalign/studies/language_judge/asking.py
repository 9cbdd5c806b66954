"""A language model behind an OpenAI-compatible server: asking it questions and keeping its replies."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import re
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from infalign.errors import InputError
from infalign.records.tables import weights_sha256
from infalign.studies.language_judge.block import LanguageJudge
from infalign.studies.language_judge.server import judge_server

Choice = Literal["first", "second", "tie", "unparsed"]
CHOICES: dict[str, Choice] = {"A": "first", "B": "second", "TIE": "tie"}
LAST_LINE = re.compile(r"(?:Verdict: ?)?(A|B|TIE)\.?")
KEY_VARIABLE = "OPENAI_API_KEY"
STOPPING = (signal.SIGINT, signal.SIGTERM)
LONGEST_WAIT = 120.0  # seconds between two tries, at most; a server may ask for that long
EXCERPT = 300  # characters of a server's answer in a message
GO_ON = "; what was answered is kept, so run it again to go on from there"


@dataclass(frozen=True)
class Reply:
    """What a model answered to a question.

    Attributes
    ----------
    text : str
        As it came; empty where there was none.
    finish : str
        Why it ended, in the server's word: mostly stop, or length where it was cut off.
    """

    text: str
    finish: str


def parse_reply(reply: Reply) -> Choice:
    """Read the verdict of a reply, strictly.

    The last line that is not blank must be A, B or TIE, in capitals, alone or after "Verdict:", with or without a
    full stop. Anything else, and every reply that was cut off, is `unparsed`.

    Examples
    --------
    >>> [parse_reply(Reply(text, "stop")) for text in ("B", "Both are fine.\\n\\nVerdict: TIE.\\n", "A is better")]
    ['second', 'tie', 'unparsed']
    >>> parse_reply(Reply("A", "length"))
    'unparsed'
    """
    lines = reply.text.strip().splitlines()
    verdict = LAST_LINE.fullmatch(lines[-1].strip()) if lines else None
    return "unparsed" if verdict is None or reply.finish == "length" else CHOICES[verdict.group(1)]


def question_hash(judge: LanguageJudge, question: str) -> str:
    """Hash a question with all else that decides its reply: server, model, longest reply and temperature.

    The weights of a model in a local folder count too, so a model that was trained again is asked again.

    Examples
    --------
    >>> warm, cold = (LanguageJudge(server="http://h/v1", model="m", temperature=t) for t in (1, 0))
    >>> question_hash(warm, "A or B?") == question_hash(cold, "A or B?")
    False
    """
    asked = [judge.origin, judge.model, judge.max_tokens, judge.temperature, question]
    asked += _local_weights(judge.model)
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


@lru_cache
def _local_weights(model: str) -> list[str]:
    """Hash of the weights in a folder of this machine; none of a model that a server elsewhere knows."""
    return [weights_sha256(model)] if any(Path(model).glob("*.safetensors")) else []


class ReplyCache:
    """Replies in a file of JSON lines, each in the file as soon as it is kept; use it in a `with` block.

    Parameters
    ----------
    path : str or Path
        Of the file, which is made with its folder if it is not there. Several jobs may add to one file.

    Raises
    ------
    InputError
        The file cannot be read or written.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def __enter__(self) -> ReplyCache:
        with self._reporting():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "a+b", buffering=0)
            self._end_last_line()
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def _end_last_line(self) -> None:
        """A job that was killed may have left half a line; the next reply must not be added to it."""
        if self._file.seek(0, os.SEEK_END):
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")

    def replies(self) -> dict[str, Reply]:
        """Return every reply by its question's hash; lines cut short by a crash are passed over and said."""
        with self._reporting():
            self._file.seek(0)
            lines = self._file.read().decode(errors="replace").splitlines()
        read = [row for line in lines if (row := _read_line(line))]
        if len(read) < len(lines):
            logging.warning("%s: %d broken lines passed over", self.path, len(lines) - len(read))
        return dict(read)

    def keep(self, question: str, reply: Reply) -> None:
        """Add the reply to a question, given by its hash."""
        row = {"question": question, "reply": reply.text, "finish": reply.finish}
        line = (json.dumps(row) + "\n").encode()
        with self._reporting():
            if self._file.write(line) != len(line):
                raise OSError("the disk took a part of it only")

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f"{self.path}: replies cannot be kept there ({error}); free some disk, or move what is there away"
            ) from error


def _read_line(line: str) -> tuple[str, Reply] | None:
    """A question's hash and its reply; None for half a line."""
    try:
        row = json.loads(line)
        return row["question"], Reply(row["reply"], row["finish"])
    except (ValueError, LookupError, TypeError):
        return None


def ask(judge: LanguageJudge, questions: Iterable[str], cache: ReplyCache) -> dict[str, Reply]:
    """Get the reply to every question, asking only those that the cache does not know.

    Parameters
    ----------
    judge : LanguageJudge
        Server, model and how to ask. The key is taken from the environment variable OPENAI_API_KEY.
    questions : iterable of str
        Equal ones are asked once.
    cache : ReplyCache
        Where replies are kept, each as it comes.

    Returns
    -------
    dict
        Replies by `question_hash`.

    Raises
    ------
    InputError
        The server cannot be reached, is silent, refuses, or answers with something else than a chat completion, or
        the process gets SIGINT or SIGTERM. No further question is asked then; those under way are awaited and kept.
    """
    known = cache.replies()
    texts = {question_hash(judge, text): text for text in questions}
    missing = {key: text for key, text in texts.items() if key not in known}
    logging.info("%d questions, %d of them answered before", len(texts), len(texts) - len(missing))
    for name in ("httpx", "httpx2"):  # a line for every request
        logging.getLogger(name).setLevel(logging.WARNING)

    def keep(key: str, reply: Reply) -> None:
        cache.keep(key, reply)
        known[key] = reply

    if missing:
        with judge_server(judge) as address:
            asyncio.run(_ask_all(judge, address, missing, keep))
    return {key: known[key] for key in texts}


async def _ask_all(
    judge: LanguageJudge, address: str, missing: Mapping[str, str], keep: Callable[[str, Reply], None]
) -> None:
    """Ask with as many workers as the judge allows; after a failure or a signal none begins another question.

    What is under way is awaited and kept; a second signal does not wait.
    """
    from openai import AsyncOpenAI  # takes a second to load

    where = f"judge {judge.model} at {address}"
    pending = iter(tqdm(missing.items(), desc="questions", disable=None))
    failures: list[InputError] = []
    loop = asyncio.get_running_loop()

    def stop() -> None:
        failures.append(InputError(f"{where}: stopped by a signal{GO_ON}"))
        for number in STOPPING:
            loop.remove_signal_handler(number)

    for number in STOPPING:
        loop.add_signal_handler(number, stop)

    async def work(client: AsyncOpenAI) -> None:
        while not failures and (item := next(pending, None)) is not None:
            try:
                keep(item[0], await _ask_one(client, judge, where, item[1]))
            except InputError as error:
                failures.append(error)

    options: dict[str, Any] = {"timeout": judge.timeout, "max_retries": judge.retries}
    key = _key() or "none"  # a server without keys takes any
    async with AsyncOpenAI(base_url=address, api_key=key, **options) as client:
        await asyncio.gather(*(work(client) for _ in range(judge.concurrency)))
    if failures:
        raise failures[0]


async def _ask_one(client: Any, judge: LanguageJudge, where: str, question: str) -> Reply:
    from openai import APIConnectionError, APIStatusError, APITimeoutError

    tries = f"{judge.retries + 1} tries of {judge.timeout:g} s"
    try:
        async with asyncio.timeout((judge.retries + 1) * (judge.timeout + LONGEST_WAIT)):
            answer = await client.chat.completions.with_raw_response.create(
                model=judge.model,
                messages=[{"role": "user", "content": question}],
                max_tokens=judge.max_tokens,
                temperature=judge.temperature,
            )
    except (APITimeoutError, TimeoutError):
        raise InputError(
            f"{where}: no whole answer in {tries}; see that the server is well, or raise judge.timeout{GO_ON}"
        ) from None
    except APIConnectionError as error:
        reason = _printable(str(error.__cause__ or error))
        raise InputError(
            f"{where}: cannot be reached ({reason}); start the server or correct judge.server{GO_ON}"
        ) from None
    except APIStatusError as error:
        text = _printable(error.response.text)
        raise InputError(f"{where}: HTTP {error.status_code}, {text}; {_advice(error.status_code)}{GO_ON}") from None
    return _read_answer(answer.text, where)


def _advice(status: int) -> str:
    if status in (401, 403):
        return f"give a key that it accepts in the environment variable {KEY_VARIABLE}"
    if status == 404:
        return "correct judge.server (it mostly ends in /v1) or judge.model"
    if status == 429 or status >= 500:
        return "the server is overloaded or broken: wait, or lower judge.concurrency"
    return "correct judge.model or the other settings of judge"


def _read_answer(body: str, where: str) -> Reply:
    """Take the reply out of a chat completion's JSON."""
    try:
        choice = json.loads(body)["choices"][0]
        text, finish = choice["message"].get("content") or "", choice.get("finish_reason") or ""
        if not isinstance(text, str) or not isinstance(finish, str):
            raise TypeError("content and finish_reason must be texts")
    except (ValueError, LookupError, TypeError, AttributeError):
        raise InputError(
            f"{where}: the answer is no chat completion but {_printable(body)}; correct judge.server, which must speak "
            f"OpenAI's API{GO_ON}"
        ) from None
    return Reply(_without_key(text), _without_key(finish))


def _printable(text: str) -> str:
    """A server's words on one line, shortened, as a message may show them."""
    words = " ".join(_without_key(text).split())
    return repr(words[:EXCERPT] + ("…" if len(words) > EXCERPT else ""))


def _key() -> str:
    """The server's key from the environment; empty where there is none."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise InputError(f"{KEY_VARIABLE}: holds characters that no key has; set it again, or unset it")
    return key


def _without_key(text: str) -> str:
    """Take out the key, should a server send it back."""
    key = _key()
    return text.replace(key, "***") if key else text
