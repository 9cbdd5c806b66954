"""Train one policy by REINFORCE with a leave-one-out baseline (TRL's trainer)."""

from tyro.conf import OmitArgPrefixes

from infalign.alignment.batches import OnlineTask
from infalign.alignment.job import PolicyJob
from infalign.alignment.objectives import policy_objective
from infalign.alignment.rloo import train_rloo
from infalign.language.models import load_tokenizer
from infalign.records.command import run_command


def train(job: OmitArgPrefixes[PolicyJob]) -> None:
    """Train a policy from the reference.

    Parameters
    ----------
    job : PolicyJob
        Files and settings.
    """
    objective = policy_objective(job.specification, job.reference_scores())
    task = OnlineTask.of_job(job, load_tokenizer(job.reference))
    job.write(
        lambda destination: train_rloo(job.reference, task, objective, job.method, destination),
        objective.measures,
    )


if __name__ == "__main__":
    run_command(train)
