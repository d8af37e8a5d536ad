"""Rule `evaluate`: what was saved is what is measured."""

from workflow_scripts.common import files
from workflow_scripts.evaluation.cell import evaluate
from workflow_scripts.jobs.step import step

with step(snakemake.threads, snakemake.log[0], jobs_per_gpu=snakemake.config["jobs_per_gpu"]):
    output, params = snakemake.output, snakemake.params
    inputs = dict(snakemake.input.items())
    files.write_json(output.metrics, evaluate(inputs, params.made, output.predictions, output.metrics, params.root))
