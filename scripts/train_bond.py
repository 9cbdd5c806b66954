"""Train one policy towards best-of-n by BOND or J-BOND."""

import math

from tyro.conf import OmitArgPrefixes

from infalign.alignment.batches import OnlineTask
from infalign.alignment.bond import bond_stages, train_bond
from infalign.alignment.job import PolicyJob
from infalign.language.models import load_language_model
from infalign.records.command import run_command


def train(job: OmitArgPrefixes[PolicyJob]) -> None:
    """Train a policy from the reference.

    Parameters
    ----------
    job : PolicyJob
        Files and settings.
    """
    n = int(job.specification.strength)
    stages = bond_stages(n, job.method.n_each) if job.method.kind == "bond" else math.log2(n)
    model, tokenizer = load_language_model(job.reference)
    task = OnlineTask.of_job(job, tokenizer)
    scores = job.reference_scores("tokens")
    job.write(
        lambda destination: train_bond(model, task, scores, job.method, destination, n=n),
        {"beta": None, "stages": stages},
    )


if __name__ == "__main__":
    run_command(train)
