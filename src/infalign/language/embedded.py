"""The embedded corpora by name: dialogues (`corpora`), summaries, and problems (`arithmetic`, `multiple_choice`)."""

from __future__ import annotations

from infalign.language import arithmetic, corpora, multiple_choice, problems, summaries

SUMMARIES = "summaries"
PROBLEMS = {"arithmetic": arithmetic.GRAMMAR, "multiple_choice": multiple_choice.GRAMMAR}


def corpus(task: str, seed: int, *, null: bool = False, **sizes: int) -> corpora.Corpus:
    """Write an embedded corpus; the same arguments give the same texts.

    Parameters
    ----------
    task : str
        helpful, harmless, summaries, arithmetic or multiple_choice.
    seed : int
    null : bool
        Preferences are coin flips and the gold reward does not depend on the response.
    **sizes : int
        As `corpora.corpus` takes them; summaries take `n_evaluation_out_prompts` besides.

    Returns
    -------
    Corpus

    Raises
    ------
    InputError
        If the task is unknown or more prompts are asked for than the grammar writes.
    """
    if task == SUMMARIES:
        return summaries.summaries_corpus(seed, null=null, **sizes)
    if task in PROBLEMS:
        return problems.problems_corpus(PROBLEMS[task], seed, null=null, **sizes)
    return corpora.corpus(task, seed, null=null, **sizes)


def gold_reward(task: str, prompt: str, response: str, *, null: bool = False) -> float:
    """Gold reward of a response: a pure function of the two texts, never used for training.

    Parameters
    ----------
    task : str
        helpful, harmless, summaries, arithmetic or multiple_choice.
    prompt, response : str
    null : bool
        For the null corpus: the reward is the prompt's offset (0 for problems), whatever the response.

    Returns
    -------
    float
        Of problems 1 for the right answer, else 0.

    Raises
    ------
    InputError
        If the task is unknown or its grammar cannot write the prompt.
    """
    if task == SUMMARIES:
        return summaries.gold_reward(prompt, response, null=null)
    if task in PROBLEMS:
        return problems.gold_reward(PROBLEMS[task], prompt, response, null=null)
    return corpora.gold_reward(task, prompt, response, null=null)
