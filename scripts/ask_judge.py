"""Ask a language model which of two responses is better, for pairs of a policy's and the reference's."""

from pathlib import Path

import polars as pl

from infalign.records.command import run_command
from infalign.records.config import Config, read_config, read_study_block, task_folder
from infalign.records.policy import Policy
from infalign.records.sweep import conditions, policy_folder, policy_sets
from infalign.records.tables import read_table, write_table
from infalign.studies.language_judge.asking import ReplyCache, ask, question_table, read_verdicts
from infalign.studies.language_judge.block import JudgePrompt, LanguageJudge, principle, read_prompt
from infalign.studies.language_judge.judgements import judged_cases, response_pairs, trained_verdicts

COLUMNS = ["prompt_id", "sample_id", "response", "reward", "judge", "n_tokens"]


def ask_judge(config: Path, /, *, tasks: Path, cache: Path, out: Path, model: Path | None = None) -> None:
    """Write the verdicts of the language model, of the trained judge and of the gold reward on the same pairs.

    Parameters
    ----------
    config : the run's recorded configuration, with its block `judge`.
    tasks : folder of the shared results.
    cache : file in which replies are kept, so that no question is asked twice.
    out : table to write.
    model : folder of the judge that the run has trained; default: the model that the configuration names.
    """
    run = read_config(config)
    judge = read_study_block(config, "judge", LanguageJudge)
    judge = judge if model is None else judge.model_copy(update={"model": str(model)})
    prompt = read_prompt(judge.prompt)
    trained, asked = [], []
    for policy, procedure in judged_cases(judge, run):
        case = {"task": policy.task, "policy": policy.slug, "procedure": procedure}
        pairs = pairs_of(run, judge, policy, procedure, tasks)
        trained.append(trained_verdicts(pairs, case))
        asked.append(questions_of(run, judge, prompt, pairs, case))
    table = pl.concat(asked)
    with ReplyCache(cache) as known:
        replies = ask(judge, table["text"].to_list(), known)
    judged = read_verdicts(judge, table, replies)
    facts = {"judge": judge.model_dump(), "prompt_sha256": prompt.sha256, "questions": len(replies)}
    facts |= {"replies": judged.height, "unparsed": judged.filter(verdict="unparsed").height}
    write_table(pl.concat([judged, *trained]), out, facts)


def pairs_of(run: Config, judge: LanguageJudge, policy: Policy, procedure: str, tasks: Path) -> pl.DataFrame:
    """Pairs of a policy's and the reference's responses under the main condition, with their prompts."""
    task, folder = run.tasks[policy.task], tasks / task_folder(run, policy.task)
    paths = [
        tasks / policy_folder(run, policy) / "scores" / f"{next(iter(policy_sets(task)))}.parquet",
        folder / "scores" / f"{conditions(task)[0].name}.parquet",
    ]
    scores = [read_table(path, COLUMNS, also=["gold"]) for path in paths]
    pairs = response_pairs(*scores, procedure, judge.n_pairs, judge.n_prompts)
    texts = read_table(folder / "data" / "prompts.parquet", ["prompt_id", "prompt"]).select(
        "prompt_id", "prompt"
    )
    return pairs.join(texts, on="prompt_id", how="left", maintain_order="left")


def questions_of(
    run: Config, judge: LanguageJudge, prompt: JudgePrompt, pairs: pl.DataFrame, case: dict[str, str]
) -> pl.DataFrame:
    """Questions about pairs, by the principle of their task."""
    measure = principle(judge, case["task"], run.tasks[case["task"]].corpus)
    assert measure is not None  # checked with the configuration
    return question_table(pairs, case, lambda *texts: prompt.ask(measure, *texts))


if __name__ == "__main__":
    run_command(ask_judge)
