"""Rule `evaluate`: what was saved is what is measured."""

from workflow_scripts.common import files
from workflow_scripts.evaluation.cell import evaluate
from workflow_scripts.jobs.step import step

with step(snakemake.threads):
    made, (predictions_path, metrics_path) = snakemake.params.made, snakemake.output
    predictions, rows = evaluate(dict(snakemake.input.items()), made, metrics_path, snakemake.params.root)
    files.write_table(predictions_path, predictions, made)
    files.write_json(metrics_path, rows)
