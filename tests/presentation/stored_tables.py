"""The tables of a run, held in memory, and claims of every kind."""

from types import SimpleNamespace

import polars as pl

from infalign.catalogue import CLAIM_KINDS
from infalign.presentation import claims
from infalign.records.config import Evaluation
from infalign.records.run_tables import RunTables


class Tables(RunTables):
    """Tables by name. `main_*` are those of the main condition where they are others."""

    def __init__(self, *, scores=None, seconds=None, rollout_seconds=None, blocks=None, **frames):
        self.stored, self.blocks = frames, blocks or {}
        self.task_scores, self.seconds, self.of_rollouts = scores or {}, seconds, rollout_seconds
        self.config = SimpleNamespace(evaluation=Evaluation())

    def __contains__(self, name):
        return name in self.stored

    def __getitem__(self, name):
        return self.stored[name]

    def __getattr__(self, name):
        if name == "made" or name.startswith("_"):
            raise AttributeError(name)
        return self.stored[name]

    def read(self, name, *, may_be_empty=False):
        return self.stored[name]

    def main(self, name):
        return self.stored.get(f"main_{name}", self.stored[name])

    def block(self, name, kind):
        return self.blocks[name]

    @property
    def tasks_of_run(self):
        return self.task_scores

    def scores(self, task):
        return self.task_scores[task]

    def rollout_seconds(self, task):
        return self.of_rollouts

    def training_seconds(self):
        schema = {"task": pl.String, "policy": pl.String, "seconds": pl.Float64}
        return pl.DataFrame(schema=schema) if self.seconds is None else self.seconds


def language_judge(learnt):
    """Block `judge` of a run whose language model learnt to judge, or did not."""
    return {"judge": SimpleNamespace(trained=object() if learnt else None)}


def load_claims(path):
    return claims.load_claims(path, CLAIM_KINDS)


def parse_claims(content, where="claims"):
    return claims.parse_claims(content, CLAIM_KINDS, where)


def one_claim(measure, expect=None, *, about="advantage", name="a-claim"):
    """A claim with the given measure; without an expectation, that the number is above 0."""
    texts = {"claim": name, "source": "a paper", "text": "A text.", "paper_value": "none", "about": about}
    expect = {"direction": "greater", "effect": 0.02} if expect is None else expect
    return parse_claims({"claims": [{**texts, "expect": expect, "measure": measure}]})
