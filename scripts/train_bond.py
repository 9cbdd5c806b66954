"""Train one policy towards best-of-n by BOND or J-BOND."""

import math

from tyro.conf import OmitArgPrefixes

from infalign.alignment.bond import n_stages, train_bond
from infalign.alignment.job import PolicyJob
from infalign.language.models import load_language_model
from infalign.records.command import run_command


def train(job: OmitArgPrefixes[PolicyJob]) -> None:
    """Train a policy from the reference.

    Parameters
    ----------
    job : files and settings.
    """
    wanted, method = job.wanted, job.method
    n = int(wanted.strength)
    stages = n_stages(n, method.n_each) if method.kind == "bond" else math.log2(n)
    model, tokenizer = load_language_model(job.reference)
    job.write(
        lambda folder: train_bond(
            model,
            tokenizer,
            job.training_prompts(),
            job.reference_scores("tokens"),
            job.scorer(),
            method,
            n=n,
            seed=wanted.seed,
            max_new_tokens=job.sampling.max_new_tokens,
            temperature=job.sampling.temperature,
            output_dir=folder,
            scratch_dir=job.scratch,
        ),
        {"beta": None, "stages": stages},
    )


if __name__ == "__main__":
    run_command(train)
