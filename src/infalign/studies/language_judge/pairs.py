"""Which pairs of responses are judged, and what those judges say of them that score every response."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import polars as pl

from infalign.errors import InputError
from infalign.mathematics.procedures import parse_procedure
from infalign.records.block import settings_json, short_hash
from infalign.records.config import Config, task_folder
from infalign.records.policy import Policy
from infalign.records.sweep import policies
from infalign.studies.language_judge.block import LanguageJudge, procedures_of

LANGUAGE_MODEL = "language_model"
JUDGES = (LANGUAGE_MODEL, "judge", "gold")
ORDERS = ("policy_first", "reference_first")
CASE = ("task", "policy", "procedure")
PAIR = (*CASE, "prompt_id", "pair")
READ = (*PAIR, "scorer", "order", "verdict")  # what a reader of judgements needs
PICKED = ("sample_id", "response", "reward", "judge", "gold", "n_tokens")
REPLY = ("order", "question", "reply", "finish")  # null for those judges that score

JUDGEMENT_SCHEMA = {
    **dict.fromkeys((*CASE, "prompt_id"), pl.String),
    **dict.fromkeys(("pair", "sample_id", "reference_sample_id"), pl.Int64),
    **dict.fromkeys(("scorer", *REPLY, "verdict"), pl.String),
}


def trained_judge_folder(judge: LanguageJudge, config: Config) -> str:
    """Name the folder of the judge that a run trains, below `results/judges/`: a hash of all that it learns."""
    assert judge.trained is not None
    tasks = [task_folder(config, name) for name in judge.tasks or config.tasks]
    measures = json.dumps(judge.principles, sort_keys=True)
    return f"trained-{short_hash(settings_json(judge.trained), judge.prompt, measures, *tasks)}"


def judged_policies(judge: LanguageJudge, config: Config) -> list[Policy]:
    """List the policies whose responses the language model compares with the reference's, in the run's order.

    Raises
    ------
    InputError
        `judge.policies` names one that the run does not train on the judged tasks.
    """
    available = [policy for policy in policies(config) if policy.task in (judge.tasks or config.tasks)]
    names = list(dict.fromkeys(policy.slug for policy in available))
    unknown = [name for name in judge.policies or [] if name not in names]
    if unknown:
        raise InputError(
            f"judge.policies: {', '.join(unknown)} not among the policies of the judged tasks, which are "
            f"{', '.join(names)}; correct the name or remove it"
        )
    return [policy for policy in available if judge.policies is None or policy.slug in judge.policies]


def judged_cases(judge: LanguageJudge, config: Config) -> Iterator[tuple[Policy, str]]:
    """Yield every judged policy with each procedure through which it is judged."""
    for policy in judged_policies(judge, config):
        for procedure in procedures_of(judge, config.goals[policy.task].procedure):
            yield policy, procedure


def response_pairs(
    scores: pl.DataFrame, reference: pl.DataFrame, procedure: str, n_pairs: int, n_prompts: int | None = None
) -> pl.DataFrame:
    """Pick pairs of responses, one of a policy and one of the reference, each through the procedure.

    A pair's two sides come from groups of the procedure's n samples; no sample is in two groups. The group's
    response of the highest reward is picked (won: of the lowest; the first of equal ones). Without a procedure a
    group is one sample.

    Parameters
    ----------
    scores, reference : DataFrame
        Scored responses to the same prompts: prompt_id and the columns PICKED.
    procedure : str
        none, bon(n) or won(n).
    n_pairs : int
        To a prompt. n_pairs · n samples of each side are used, the first by sample_id.
    n_prompts : int, optional
        The first ones in the order of their ids. Default: all.

    Returns
    -------
    DataFrame
        A row a pair: prompt_id, pair, the columns PICKED of the policy's response, and those of the reference's with
        the prefix `reference_`.

    Raises
    ------
    InputError
        The two tables have different prompts, or a prompt has too few samples.
    """
    ours, theirs = (_picked(frame, procedure, n_pairs) for frame in (scores, reference))
    if not ours.select("prompt_id", "pair").equals(theirs.select("prompt_id", "pair")):
        raise InputError("judge: the policy's samples and the reference rollouts have different prompts")
    both = ours.hstack(theirs.select(pl.col(PICKED).name.prefix("reference_")))
    return both if n_prompts is None else both.head(n_prompts * n_pairs)


def _picked(scores: pl.DataFrame, procedure: str, n_pairs: int) -> pl.DataFrame:
    """The response picked from each group of samples, ordered by prompt_id and pair."""
    parsed = parse_procedure(procedure)
    size = parsed.n or 1
    ordered = scores.sort("prompt_id", "sample_id").select("prompt_id", *PICKED)
    few = ordered.group_by("prompt_id").len().filter(pl.col("len") < size * n_pairs)
    if not few.is_empty():
        raise InputError(
            f"judge: {n_pairs} pairs through {procedure} take {size * n_pairs} responses a prompt, prompt "
            f"{few['prompt_id'][0]!r} has {few['len'][0]}; lower judge.n_pairs"
        )
    place = pl.int_range(pl.len()).over("prompt_id")
    groups = ordered.with_columns(pair=place // size).filter(pl.col("pair") < n_pairs)
    descending = [False, False, parsed.name != "won"]
    best = groups.sort("prompt_id", "pair", "reward", descending=descending, maintain_order=True)
    return best.group_by("prompt_id", "pair", maintain_order=True).first()


def scored_verdicts(pairs: pl.DataFrame, case: Mapping[str, str]) -> pl.DataFrame:
    """Say which response of each pair has the higher score of the trained judge and, where there is one, of gold.

    `pairs` are those of `response_pairs`, and `case` is their task, policy and procedure. Columns JUDGEMENT_SCHEMA, a
    row per pair and scorer; order, question, reply and finish are null.
    """
    parts = []
    for name in ("judge", "gold"):
        if pairs[name].null_count():
            continue
        lead = pl.col(name) - pl.col(f"reference_{name}")
        verdict = pl.when(lead > 0).then(pl.lit("win")).when(lead < 0).then(pl.lit("loss"))
        parts.append(pairs.with_columns(scorer=pl.lit(name), verdict=verdict.otherwise(pl.lit("tie"))))
    constants = [pl.lit(value).alias(name) for name, value in {**case, **dict.fromkeys(REPLY)}.items()]
    rows = pl.concat(parts).with_columns(constants)
    return rows.select(pl.col(name).cast(kind) for name, kind in JUDGEMENT_SCHEMA.items())
