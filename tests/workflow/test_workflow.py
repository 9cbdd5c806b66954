"""What runs again and what does not, and that a run that was killed ends as if it had not been."""

import re
import signal
import subprocess
import sys
import time

import polars as pl
import pytest

from infalign.records.metrics import METRICS_SCHEMA

from .conftest import ROOT, copy_of

pytestmark = pytest.mark.xdist_group("workflow")
AGGREGATES = {"record_config", "ideal_frontier", "offline_frontier", "collect_offline", "evaluate"}
AGGREGATES |= {"evaluate_best_of_n", "collect_examples"}
AGGREGATES |= {"judge_claims", "compare_methods", "draw_figure", "report"}
MODEL_JOBS = {"train_reference", "train_preference_model", "train_policy", "sample", "score"}


def test_one_command_makes_everything(finished):
    run = finished.folder / "results" / "smoke"
    assert (run / "report.html").stat().st_size > 100_000
    assert {path.stem for path in (run / "figures").glob("*.svg")} >= {
        "transforms",
        "standard",
        "inference_time",
    }
    claims = pl.read_parquet(run / "claims.parquet")
    assert claims.columns == [
        "claim",
        "source",
        "text",
        "paper_value",
        "ours",
        "ci_low",
        "ci_high",
        "verdict",
    ]
    metrics = pl.read_parquet(run / "metrics.parquet")
    assert metrics.columns == list(METRICS_SCHEMA)
    assert metrics["policy"].n_unique() == 3  # of four policies two share a name across tasks
    assert metrics["win_rate"].is_between(0, 1).all()
    assert metrics.select("split", "temperature").unique().rows() == [("evaluation", 1.0)]
    examples = pl.read_parquet(run / "examples.parquet")
    assert examples["prompt"].null_count() == 0 and "reference" in examples["source"]


def test_a_second_call_runs_nothing(project):
    assert not project.planned()


def test_touched_files_run_nothing(project):
    for path in [*project.folder.glob("src/**/*.py"), *project.folder.glob("scripts/*.py")]:
        path.touch()
    (project.folder / "config" / "smoke.yaml").touch()
    assert not project.planned()


def test_another_number_of_processes_runs_nothing(project):
    assert not project.planned("--set-resources", "train_policy:launch=accelerate launch --num_processes 4")


def test_a_new_strength_runs_its_policy_and_the_aggregates(project):
    project.edit_config(lambda values: values["policies"][2]["kl"].append(1.0))
    planned = project.planned()
    assert {rule: planned[rule] for rule in MODEL_JOBS if planned[rule]} == {
        "train_policy": 1,
        "sample": 1,
        "score": 1,
    }
    assert set(planned) - MODEL_JOBS <= AGGREGATES


def test_a_new_temperature_runs_its_sampling_and_scoring_and_the_aggregates(project):
    def warmer(values):
        values["tasks"]["helpful"]["samples"] = {"n_samples": 8, "temperatures": [1.0, 0.5]}

    project.edit_config(warmer)
    planned = project.planned()
    assert {rule: planned[rule] for rule in MODEL_JOBS if planned[rule]} == {
        "sample": 1 + 3, "score": 1 + 3,
    }  # fmt: skip
    assert set(planned) - MODEL_JOBS <= AGGREGATES


def test_another_number_of_samples_samples_the_policies_again(project):
    def more(values):
        values["tasks"]["helpful"]["samples"] = {"n_samples": 9}

    project.edit_config(more)
    planned = project.planned()
    assert {rule: planned[rule] for rule in MODEL_JOBS if planned[rule]} == {
        "sample": 3,
        "score": 3,
    }


def test_prompts_out_of_distribution_add_their_own_jobs_only(tmp_path):
    project = copy_of(ROOT, tmp_path / "project", results=False)
    project.edit_config(lambda values: values["tasks"]["helpful"]["corpus"].update(name="summaries"))
    before = project.planned()

    def both(values):
        values["tasks"]["helpful"]["samples"] = {"n_samples": 8, "splits": ["evaluation", "evaluation_out"]}

    project.edit_config(both)
    added = project.planned() - before
    assert added == {
        "sample": 1 + 3, "score": 1 + 3, "draw_figure": 1,
    }  # fmt: skip


def test_a_new_number_of_candidates_runs_no_model_job(project):
    project.edit_config(lambda values: values["evaluation"]["n"].append(8))
    planned = project.planned()
    assert planned["evaluate"] == 1
    assert set(planned) <= AGGREGATES


def test_another_policy_computes_no_frontier_again(project):
    project.edit_config(lambda values: values["policies"][0]["kl"].append(0.75))
    planned = project.planned()
    assert planned["train_policy"] >= 1 and planned["evaluate"] == 1
    assert not {"ideal_frontier", "offline_frontier"} & set(planned)


def test_an_edited_module_runs_exactly_its_users(project):
    module = project.folder / "src" / "infalign" / "alignment" / "ppo.py"
    before = module.read_text()
    module.write_text(before + "\nUNUSED = 1\n")
    planned = project.planned()
    assert planned["train_policy"] == planned["sample"] == planned["score"] == 4  # of the policies alone
    assert not set(planned) & {"train_reference", "train_preference_model", "ideal_frontier"}
    module.write_text(before)
    assert not project.planned()
    figures = project.folder / "src" / "infalign" / "presentation" / "win_rates.py"
    figures.write_text(figures.read_text() + "\nUNUSED = 1\n")
    assert set(project.planned()) == {"draw_figure", "report"}


ONE_OF_EACH = [
    {"method": "ppo", "reward": ["raw"], "kl": [0.5]},
    {"method": "rloo", "reward": ["exp(10)"], "kl": [0.5]},
    {"method": "regression", "reward": ["optimal(bon(4))"], "kl": [0.5]},
    {"method": "dpo", "beta": [0.1]},
    {"method": "ipo", "kl": [0.5]},
    {"method": "bon_sft", "n": [1, 4]},
    {"method": "bonbon", "n": [4]},
    {"method": "bond", "n": [4]},
    {"method": "jbond", "n": [2]},
    {"method": "vbon", "n": [1, 4]},
    {"method": "bound", "n": [4]},
]
TINY = {"updates": 2, "learning_rate": 1e-3}


def every_method(values):
    """One policy of each method, each trained for two updates."""
    online = {**TINY, "prompts_per_update": 4, "samples_per_prompt": 2, "epochs": 1}
    values["methods"] = {
        **dict.fromkeys(("ppo", "vbon", "bond", "jbond"), online),
        "bound": {**online, "kind": "vbon", "objective": "bound"},
        "rloo": {key: value for key, value in online.items() if key != "epochs"},
        **{name: {**TINY, "examples_per_update": 8} for name in ("regression", "bon_sft", "bonbon")},
        **{name: {**TINY, "examples_per_update": 8} for name in ("dpo", "ipo")},
    }
    values["policies"] = [{"tasks": ["helpful", "harmless"], **ONE_OF_EACH[0]}]
    values["policies"] += [{"tasks": ["helpful"], **grid} for grid in ONE_OF_EACH[1:]]


def test_every_method_runs_and_is_measured(project):
    project.edit_config(every_method)
    project.snakemake("--cores", "2")
    run = project.folder / "results" / "smoke"
    metrics = pl.read_parquet(run / "metrics.parquet").filter(pl.col("task") == "helpful")
    assert set(metrics["method"]) == {grid["method"] for grid in ONE_OF_EACH}
    untrained = metrics.filter((pl.col("strength_kind") == "n") & (pl.col("strength") == 1))
    assert set(untrained["method"]) == {"bon_sft", "vbon"}
    assert untrained["kl"].to_list() == pytest.approx([0.0] * untrained.height, abs=1e-9)
    assert metrics.filter(pl.col("policy") == "ipo-kl0.50-s0")["beta"].null_count() == 0

    module = project.folder / "src" / "infalign" / "alignment" / "preference.py"
    module.write_text(module.read_text() + "\nUNUSED = 1\n")
    offline = sum(len(grid.get("kl", grid.get("beta", grid.get("n")))) for grid in ONE_OF_EACH[2:7])
    assert project.planned()["train_policy"] == offline


def test_a_method_is_switched_off_by_its_line(project):
    project.edit_config(lambda values: values["policies"].pop(1))
    planned = project.planned()
    assert not set(planned) & MODEL_JOBS
    assert planned["evaluate"] == 1


def test_a_reference_that_changed_after_its_rollouts_is_refused(project):
    (folder,) = (project.folder / "results" / "tasks").glob("helpful-*")
    weights = folder / "models" / "reference" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    done = project.snakemake("--cores", "1", "--forcerun", "train_policy", check=False)
    assert done.returncode != 0
    logs = "".join(path.read_text() for path in project.folder.glob("logs/**/train_policy.log"))
    assert "the model was changed after its rollouts were made" in logs
    assert "Traceback" not in logs


def test_a_diverged_run_stops_with_step_and_cause(project):
    project.edit_config(lambda values: values["methods"]["ppo"].update(learning_rate=1e30))
    done = project.snakemake("--cores", "1", check=False)
    assert done.returncode != 0
    logs = "".join(path.read_text() for path in project.folder.glob("logs/**/train_policy.log"))
    assert "ppo diverged at update" in logs and "learning rate (1e+30) is too high" in logs
    assert "Traceback" not in logs


def test_the_number_of_jobs_does_not_change_a_table(finished, project):
    task = next((project.folder / "results" / "tasks").glob("harmless-*"))
    target = next(task.glob("policies/*/*/scores/*.parquet"))
    expected = target.read_bytes()
    project.snakemake("--cores", "1", "--force", *_jobs_behind(project, target))
    assert target.read_bytes() == expected


def _jobs_behind(project, target) -> list[str]:
    """The chain of one policy, so that all of it is made again."""
    folder = target.parents[1].relative_to(project.folder)
    return [f"{folder}/{name}" for name in ("model", f"samples/{target.name}", f"scores/{target.name}")]


def test_a_killed_training_resumes_to_the_same_policy(finished, project):
    task = next((project.folder / "results" / "tasks").glob("helpful-*"))
    training = next(task.glob("policies/*/ppo-exp10-*/training.parquet"))
    model = training.parent / "model" / "model.safetensors"
    weights, log = model.read_bytes(), pl.read_parquet(training)
    arguments = ["--force", str((training.parent / "model").relative_to(project.folder))]
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--configfile",
        "config/smoke.yaml",
        "--cores",
        "1",
        *arguments,
    ]
    run = subprocess.Popen(
        command, cwd=project.folder, env=project.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    checkpoint = _wait_for_checkpoint(project, run)
    _kill_group(run)
    resumed = checkpoint is not None
    project.snakemake("--unlock")
    project.snakemake("--cores", "1", "--rerun-incomplete", *arguments)
    assert resumed, "the training ended before it could be killed"
    assert model.read_bytes() == weights
    assert pl.read_parquet(training).drop("seconds").equals(log.drop("seconds"))


def _wait_for_checkpoint(project, run):
    for _ in range(600):
        found = list((project.folder / "results" / "scratch").rglob("*.safetensors"))
        if found or run.poll() is not None:
            return found[0] if found else None
        time.sleep(0.05)
    return None


def _kill_group(run) -> None:
    subprocess.run(["kill", f"-{signal.SIGKILL.value}", "--", f"-{run.pid}"], check=False)
    run.wait()


def test_a_bad_configuration_ends_with_code_2_and_no_traceback(project):
    project.edit_config(lambda values: values.update(colour="blue"))
    done = project.snakemake("--dry-run", check=False)
    assert done.returncode == 2
    assert "error: errors in the configuration:\n  colour: unknown key" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_data_root_is_named(project):
    def real(values):
        values["data_root"] = "nowhere"
        values["tasks"]["helpful"]["corpus"] = {
            "source": "preferences", "name": "helpful-base", "n_train_prompts": 8, "n_evaluation_prompts": 8,
            "max_prompt_tokens": 64, "max_response_tokens": 32,
        }  # fmt: skip

    project.edit_config(real)
    done = project.snakemake("--dry-run", check=False)
    assert done.returncode == 2
    assert "data_root" in done.stderr
    assert "nowhere" in done.stderr


def test_a_job_by_hand_says_what_its_input_lacks(project):
    script = project.folder / "scripts" / "evaluate.py"
    done = subprocess.run(
        [sys.executable, script, "missing.json", "--offline", "x", "--tasks", "y", "--out", "z", "--prompts-out", "w"],
        cwd=project.folder, env=project.environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "missing.json" in done.stderr


def test_planning_loads_no_torch():
    """Every job of a cluster reads the rules again."""
    texts = [path.read_text() for path in (ROOT / "workflow" / "rules").rglob("*.smk")]
    modules = re.findall(r"^ *from (infalign\.\S+) import", "\n".join(texts), flags=re.MULTILINE)
    found = "{'torch', 'transformers', 'pandas', 'matplotlib'} & set(sys.modules)"
    program = f"import sys, {', '.join(modules)}; print(sorted({found}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert len(modules) > 10 and done.stdout.strip() == "[]"
