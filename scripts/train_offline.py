"""Train one policy on stored responses: DPO, IPO, BoNBoN, likelihood of the best of n, or regression."""

from tyro.conf import OmitArgPrefixes

from infalign.alignment.job import PolicyJob
from infalign.alignment.offline import Material, make_lesson, train_offline
from infalign.language.models import load_language_model
from infalign.records.command import run_command
from infalign.records.tables import read_table


def train(job: OmitArgPrefixes[PolicyJob]) -> None:
    """Train a policy from the reference.

    Parameters
    ----------
    job : files and settings.
    """
    model, tokenizer = load_language_model(job.reference)
    pairs = read_table(job.pairs, ["prompt", "chosen", "rejected", "split"], may_be_empty=True)
    temperature = job.sampling.temperature
    scores = job.reference_scores("tokens", "log_prob")
    material = Material(model, tokenizer, scores, job.training_prompts(), pairs, temperature)
    lesson = make_lesson(job.wanted, job.method, material)
    job.write(
        lambda folder: train_offline(
            model,
            tokenizer,
            lesson,
            job.method,
            temperature=temperature,
            output_dir=folder,
            scratch_dir=job.scratch,
        ),
        lesson.facts,
    )


if __name__ == "__main__":
    run_command(train)
