"""Rule `tabulate`: a study's table, for machines and for papers."""

from workflow_scripts.common.cells import Study
from workflow_scripts.jobs.step import step
from workflow_scripts.reporting import tables

with step(snakemake.threads, snakemake.log[0]):
    tables.write(Study.from_json(snakemake.params.study), snakemake.params.kind, snakemake.input[0], snakemake.output)
