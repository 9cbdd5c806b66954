"""All rules share this: the checked configuration, what the run samples, scores and trains, and how commands start."""

import json
import os
import re
import shlex
import sys
from dataclasses import asdict

from infalign.catalogue import (
    all_figures,
    all_responses,
    all_score_sets,
    all_trainings,
    check_studies,
    claim_tables,
    needed_disk,
    parse_config,
    recorded_json,
    running,
)
from infalign.errors import InputError
from infalign.language.vllm_process import vllm_versions
from infalign.records.block import settings_json
from infalign.records.config import check_data, shared_json, task_folder
from infalign.records.disk import check_disk
from infalign.records.methods import METHODS
from infalign.records.provenance import code_hash, module_file
from infalign.records.responses import STREAMS, main_scores, paths_pattern, policy_scores, with_shards
from infalign.records.sweep import conditions, engines, policies, policy_folder, sampled_sets


def refuse(error):
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)


try:
    CONFIG = parse_config(config)
    check_data(CONFIG)
    POLICIES = policies(CONFIG)
    check_studies(CONFIG)
    FIGURES = all_figures(CONFIG)
except InputError as error:
    refuse(error)

SHARED, RUN = "results/tasks", f"results/{CONFIG.run}"
# Where the project is, seen from the folder that the run is in.
PROJECT = "" if os.path.samefile(workflow.basedir, os.curdir) else f"{workflow.basedir}/"
SCRIPTS = f"{PROJECT}scripts"
FOLDER_OF = {task: task_folder(CONFIG, task) for task in CONFIG.tasks}
TASK_OF = {folder: task for task, folder in FOLDER_OF.items()}
POLICY_OF = {policy_folder(CONFIG, policy): policy for policy in POLICIES}
# Jobs make RESPONSES and SCORES. Sets that they make in shards are put together to MERGED.
RESPONSES, merged_responses = with_shards(all_responses(CONFIG, POLICIES))
SCORES, merged_scores = with_shards(all_score_sets(CONFIG, POLICIES))
MERGED = merged_responses | merged_scores
TRAININGS = all_trainings(CONFIG)
PAGES = []  # of the report, made by studies


def code(script):
    """Hash of a script and of all project modules that it reaches: an edit runs its jobs again."""
    return code_hash(f"{SCRIPTS}/{script}")


def task_at(w):
    """The task of a shared folder."""
    return CONFIG.tasks[TASK_OF[w.task_folder]]


def results(*names):
    """Input function: files below results/, named by attributes of what is looked up."""
    return [f"results/{name}.parquet" for name in names]


shell.prefix(
    "set -euo pipefail; export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 "
    "POLARS_MAX_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_DISABLE_TELEMETRY=1 "
    f"PATH={shlex.quote(os.path.dirname(sys.executable))}:$PATH; "
)


onstart:
    # A run that is only priced is not checked, since that may be done on a smaller machine.
    if set(workflow.dag_settings.targets) != {"costs"}:
        try:
            check_disk(needed_disk(CONFIG, POLICIES, "results"), CONFIG.run, "results")
            if "vllm" in engines(CONFIG, POLICIES):
                vllm_versions()
        except InputError as error:
            refuse(error)


wildcard_constraints:
    task_folder="|".join(map(re.escape, TASK_OF)),
    task="|".join(CONFIG.tasks),
    policy=paths_pattern(POLICY_OF),
    responses=paths_pattern(RESPONSES),
    scores=paths_pattern(SCORES),
    merged=paths_pattern(MERGED),
    preference_model=paths_pattern(TRAININGS),
    figure="|".join(FIGURES),
