"""Train one policy on stored responses: DPO, IPO, BoNBoN, likelihood of the best of n, or regression."""

from tyro.conf import OmitArgPrefixes

from infalign.alignment.job import PolicyJob
from infalign.alignment.lessons import Material, make_lesson
from infalign.alignment.offline import train_offline
from infalign.language.models import load_language_model
from infalign.records.command import run_command
from infalign.records.tables import read_table


def train(job: OmitArgPrefixes[PolicyJob]) -> None:
    """Train a policy from the reference.

    Parameters
    ----------
    job : PolicyJob
        Files and settings.
    """
    model, tokenizer = load_language_model(job.reference)
    pairs = read_table(job.pairs, ["prompt", "chosen", "rejected", "split"], may_be_empty=True)
    scores = job.reference_scores("tokens", "log_prob")
    material = Material(model, tokenizer, scores, job.training_prompts(), pairs, job.sampling.temperature)
    lesson = make_lesson(job.specification, job.method, material)
    job.write(lambda destination: train_offline(material, lesson, job.method, destination), lesson.measures)


if __name__ == "__main__":
    run_command(train)
