"""Train one policy by PPO: on a reward, or towards the best-of-N distribution (vBoN)."""

from tyro.conf import OmitArgPrefixes

from infalign.alignment.best_of_n import build_best_of_n_objective
from infalign.alignment.job import PolicyJob
from infalign.alignment.objectives import build_objective
from infalign.alignment.ppo import train_ppo
from infalign.alignment.processes import join_processes
from infalign.language.models import load_language_model
from infalign.language.vllm_process import engine_versions
from infalign.records.command import run_command


def train(job: OmitArgPrefixes[PolicyJob]) -> None:
    """Train a policy from the reference, in one process or in those that `accelerate launch` starts.

    Parameters
    ----------
    job : files and settings.
    """
    processes = join_processes()
    wanted, method = job.wanted, job.method
    if method.kind == "vbon":
        options = {"objective": method.objective, "smooth": method.smooth, "n_rollouts": wanted.n_rollouts}
        objective = build_best_of_n_objective(job.reference_scores("log_prob"), wanted.strength, **options)
        facts = {"beta": None}
    else:
        objective = build_objective(
            job.reference_scores(),
            wanted.reward,
            wanted.calibrator,
            n_rollouts=wanted.n_rollouts,
            ties=wanted.ties or "half",
            **{wanted.strength_kind: wanted.strength},
        )
        facts = {"beta": objective.beta_paper, "beta_scaled": objective.beta, "tilt_kl": objective.kl}
    facts |= engine_versions(method.engine)
    model, tokenizer = load_language_model(job.reference)
    job.write(
        lambda folder: train_ppo(
            model,
            tokenizer,
            job.training_prompts(),
            objective,
            job.scorer(),
            method,
            seed=wanted.seed,
            max_new_tokens=job.sampling.max_new_tokens,
            temperature=job.sampling.temperature,
            updates=0 if (wanted.strength_kind, wanted.strength) == ("n", 1) else None,  # best of 1
            output_dir=folder,
            scratch_dir=job.scratch,
            processes=processes,
        ),
        facts,
        processes,
    )
    processes.leave()


if __name__ == "__main__":
    run_command(train)
