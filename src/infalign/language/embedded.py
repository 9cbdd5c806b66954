"""The embedded corpora by name: dialogues, summaries and problems."""

from __future__ import annotations

from infalign.errors import InputError
from infalign.language.arithmetic import ARITHMETIC
from infalign.language.corpora import Corpus
from infalign.language.dialogues import DIALOGUES
from infalign.language.graded import graded_corpus, graded_reward
from infalign.language.multiple_choice import MULTIPLE_CHOICE
from infalign.language.problems import problem_reward, problems_corpus
from infalign.language.summaries import SUMMARIES
from infalign.records.corpus import EmbeddedCorpus

GRADED = {**DIALOGUES, "summaries": SUMMARIES}
PROBLEMS = {"arithmetic": ARITHMETIC, "multiple_choice": MULTIPLE_CHOICE}


def embedded_corpus(block: EmbeddedCorpus, seed: int) -> Corpus:
    """Write an embedded corpus; the same arguments give the same texts.

    In the null variant preferences are coin flips, and the gold reward does not depend on the response. The `prompts`
    of summaries have the further column `community` and the further split `evaluation_out`. It is an InputError to
    ask for more prompts than the grammar writes.
    """
    if block.name in PROBLEMS:
        return problems_corpus(PROBLEMS[block.name], block, seed)
    return graded_corpus(GRADED[block.name], block, seed)


def gold_reward(task: str, prompt: str, response: str, *, null: bool = False) -> float:
    """Gold reward of a response: a pure function of the two texts, never used for training.

    Of problems it is 1 for the right answer, else 0. In the null corpus it is the prompt's offset (0 for problems),
    whatever the response. An unknown task, or a prompt that its grammar cannot write, is an InputError.

    Examples
    --------
    >>> prompt = "Hello, how do I bake bread?\\n"
    >>> good = "Happy to help! Prepare the flour step by step. Good luck!"
    >>> gold_reward("helpful", prompt, good) > gold_reward("helpful", prompt, "Who cares.")
    True
    """
    if task in PROBLEMS:
        return problem_reward(PROBLEMS[task], prompt, response, null=null)
    if task not in GRADED:
        raise InputError(
            f"unknown embedded task {task!r}; the embedded tasks are {', '.join([*GRADED, *PROBLEMS])}: name one"
        )
    return graded_reward(GRADED[task], prompt, response, null=null)
