"""Train one policy by REINFORCE with a leave-one-out baseline (TRL's trainer)."""

from tyro.conf import OmitArgPrefixes

from infalign.alignment.job import PolicyJob
from infalign.alignment.objectives import build_objective
from infalign.alignment.rloo import train_rloo
from infalign.language.models import load_tokenizer
from infalign.records.command import run_command


def train(job: OmitArgPrefixes[PolicyJob]) -> None:
    """Train a policy from the reference.

    Parameters
    ----------
    job : files and settings.
    """
    wanted = job.wanted
    objective = build_objective(
        job.reference_scores(),
        wanted.reward,
        wanted.calibrator,
        n_rollouts=wanted.n_rollouts,
        ties=wanted.ties or "half",
        **{wanted.strength_kind: wanted.strength},
    )
    job.write(
        lambda folder: train_rloo(
            job.reference,
            load_tokenizer(job.reference),
            job.training_prompts(),
            objective,
            job.scorer(),
            job.method,
            seed=wanted.seed,
            max_new_tokens=job.sampling.max_new_tokens,
            temperature=job.sampling.temperature,
            output_dir=folder,
        ),
        {"beta": objective.beta_paper, "beta_scaled": objective.beta, "tilt_kl": objective.kl},
    )


if __name__ == "__main__":
    run_command(train)
