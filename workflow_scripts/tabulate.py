"""Rule `tabulate`: a study's table, for machines and for papers."""

from workflow_scripts.common.cells import Study
from workflow_scripts.jobs.step import step
from workflow_scripts.reporting import reported, tables

with step(snakemake.threads, snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    study = Study.from_json(params.study)
    if params.kind == "reported":
        reported.write(study, inputs.metrics, inputs.published, params.otherwise, output)
    else:
        tables.write(study, params.kind, inputs.metrics, output)
