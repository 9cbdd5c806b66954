"""InfAlign, reproduced: from preference pairs to the paper's figures, claims and report."""

import glob
import json
import os
import re
import sys
from dataclasses import asdict

from snakemake.utils import min_version

from infalign.errors import InputError
from infalign.language.vllm_process import vllm_versions
from infalign.records.config import check_data, parse_config, settings_json, shared_json, task_folder
from infalign.records.corpus import GOLD_SOURCES
from infalign.records.costs import parse_costs
from infalign.records.disk import check_disk
from infalign.records.judge_sizes import (
    OWN_JUDGE,
    REWARD_MODEL,
    check_judges,
    judge_folder,
    score_tables,
    sized_judges,
)
from infalign.records.judgements import judged_policies, trained_judge_folder
from infalign.records.language_judge import cache_name, principle, read_prompt
from infalign.records.methods import METHODS
from infalign.records.poisoning import poisoned_runs
from infalign.records.pools import pool_name, proxy_model, proxy_names
from infalign.records.provenance import code_hash
from infalign.records.comparisons import several_seeds, several_temperatures
from infalign.records.shards import SUFFIX, shard_names, split_name, split_option
from infalign.records.studies import (
    calibration_sampling,
    estimation_sampling,
    poisoning_phrase,
    poisoning_sampling,
    pool_sampling,
)
from infalign.records.sweep import (
    conditions,
    engines,
    folders_pattern,
    policies,
    policy_folder,
    policy_sampling,
    policy_sets,
    reference_sampling,
    reference_sets,
    sampled_sets,
    with_varied_rollouts,
)

min_version("9.27")


# One file is one run: another file replaces the default instead of being merged into it.
if not workflow.overwrite_configfiles:

    configfile: "config/default.yaml"


try:
    CONFIG = parse_config(config)
    check_data(CONFIG)
    POLICIES = policies(CONFIG)
    JUDGED = judged_policies(CONFIG)
    check_judges(CONFIG)
    COSTS = parse_costs(CONFIG)
except InputError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)

SHARED = "results/tasks"
RUN = f"results/{CONFIG.run}"
FOLDER_OF = {name: task_folder(CONFIG, name) for name in CONFIG.tasks}
TASKS = {folder: name for name, folder in FOLDER_OF.items()}
POLICY_AT = {policy_folder(CONFIG, policy): policy for policy in POLICIES}
# Sets of responses by their names: of the reference for each task, and of its policies.
REFERENCE_SETS = {folder: reference_sets(CONFIG.tasks[name]) for folder, name in TASKS.items()}
POLICY_SETS = {folder: policy_sets(CONFIG.tasks[name]) for folder, name in TASKS.items()}


report: "workflow/report/workflow.rst"


shell.prefix(
    "set -euo pipefail; export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 "
    f"POLARS_MAX_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_DISABLE_TELEMETRY=1 PATH={os.path.dirname(sys.executable)}:$PATH; "
)


onstart:
    # Not where a run is only planned or priced: that may well be done on a smaller machine.
    if set(workflow.dag_settings.targets) != {"costs"}:
        try:
            check_disk(CONFIG, POLICIES, "results")
            if "vllm" in engines(CONFIG, POLICIES):
                vllm_versions()
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)


wildcard_constraints:
    task="|".join(TASKS),
    responses=f"(?:{'|'.join({name for sets in REFERENCE_SETS.values() for name in sets})}){SUFFIX}",
    samples=f"(?:{'|'.join({name for sets in POLICY_SETS.values() for name in sets})}){SUFFIX}",
    model="reward_model|judge",
    name="|".join(CONFIG.tasks),
    at=folders_pattern(POLICY_AT),


include: "workflow/rules/data.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/rollouts.smk"
include: "workflow/rules/policies.smk"
include: "workflow/rules/theory.smk"
include: "workflow/rules/judging.smk"
include: "workflow/rules/costs.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/hedging.smk"
include: "workflow/rules/estimation.smk"
include: "workflow/rules/poisoning.smk"
include: "workflow/rules/judge_strength.smk"
include: "workflow/rules/exponents.smk"
include: "workflow/rules/calibration.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"


localrules:
    all,
    theory,
    figures,
    claims,
    ablations,
    costs,


rule all:
    default_target: True
    input:
        f"{RUN}/report.html",
        f"{RUN}/metrics.parquet",
        f"{RUN}/claims.parquet",
        FIGURES,


rule theory:
    input:
        f"{RUN}/ideal.parquet",
        f"{RUN}/offline.parquet",
        f"{RUN}/figures/transforms.svg",


rule figures:
    input:
        FIGURES,


rule claims:
    input:
        rules.judge_claims.output,
        rules.collect_examples.output,
        rules.calibration_costs.output if CONFIG.calibration else [],
        rules.judge_agreement.output if CONFIG.judge else [],


rule ablations:
    log:
        "logs/ablations.log",
    conda:
        "envs/cpu.yaml"
    threads: lambda w: workflow.cores
    shell:
        "snakemake --cores {threads} --configfile config/ablations.yaml --nolock 2>&1 | tee {log}"
