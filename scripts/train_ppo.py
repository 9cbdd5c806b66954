"""Train one policy by PPO: on a reward, or towards the best-of-N distribution (vBoN)."""

from tyro.conf import OmitArgPrefixes

from infalign.alignment.batches import OnlineTask
from infalign.alignment.best_of_n import vbon_objective
from infalign.alignment.job import PolicyJob
from infalign.alignment.objectives import policy_objective
from infalign.alignment.ppo import train_ppo
from infalign.alignment.processes import join_processes
from infalign.language.models import load_language_model
from infalign.language.vllm_process import engine_versions
from infalign.records.command import run_command


def train(job: OmitArgPrefixes[PolicyJob]) -> None:
    """Train a policy from the reference, in one process or in those that `accelerate launch` starts.

    Parameters
    ----------
    job : PolicyJob
        Files and settings.
    """
    processes = join_processes()
    if job.method.kind == "vbon":
        objective = vbon_objective(job.specification, job.method, job.reference_scores("log_prob"))
    else:
        objective = policy_objective(job.specification, job.reference_scores())
    best_of_one = (job.specification.strength_kind, job.specification.strength) == ("n", 1)
    model, tokenizer = load_language_model(job.reference)
    task = OnlineTask.of_job(job, tokenizer)
    job.write(
        lambda destination: train_ppo(
            model,
            task,
            objective,
            job.method,
            destination,
            updates=0 if best_of_one else None,
            processes=processes,
        ),
        objective.measures | engine_versions(job.method.engine),
        processes,
    )
    processes.leave()


if __name__ == "__main__":
    run_command(train)
