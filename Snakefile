"""InfAlign, reproduced: from preference pairs to the paper's figures, claims and report."""

from snakemake.utils import min_version

min_version("9.27")

# One file is one run. Another file replaces the default and is not merged into it.
if not workflow.overwrite_configfiles:

    configfile: f"{workflow.basedir}/config/default.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/rollouts.smk"
include: "workflow/rules/scores.smk"
include: "workflow/rules/policies.smk"
include: "workflow/rules/theory.smk"
include: "workflow/rules/evaluation.smk"


for study in running(CONFIG):

    include: f"workflow/rules/studies/{study.name}.smk"


include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"


localrules:
    all,
    theory,
    figures,
    claims,


rule all:
    default_target: True
    input:
        f"{RUN}/report.html",
        f"{RUN}/metrics.parquet",
        f"{RUN}/claims.parquet",
        FIGURE_FILES,


rule theory:
    input:
        f"{RUN}/ideal.parquet",
        f"{RUN}/offline.parquet",
        f"{RUN}/figures/transforms.svg",


rule figures:
    input:
        FIGURE_FILES,
