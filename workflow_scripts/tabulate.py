"""Rule `tabulate`: a study's table, for machines and for papers."""

from workflow_scripts.common.cells import Study
from workflow_scripts.jobs.step import step
from workflow_scripts.reporting import costs, reported, stability, tables

with step(snakemake.threads, snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    study = Study.from_json(params.study)
    match params.kind:
        case "reported":
            reported.write(study, inputs.metrics, inputs.published, params.otherwise, output)
        case "costs":
            costs.write(study, inputs.metrics, inputs.costs, output)
        case "stability":
            stability.write(study, inputs.metrics, output)
        case kind:
            tables.write(study, kind, inputs.metrics, output)
