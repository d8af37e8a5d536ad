"""Rule `evaluate`: what was saved is what is measured."""

from workflow_scripts.common import files
from workflow_scripts.common.cells import Cell
from workflow_scripts.common.run import step
from workflow_scripts.evaluation.cell import evaluate

with step(snakemake.threads):
    made, (predictions_path, metrics_path) = snakemake.params.made, snakemake.output
    cell = Cell(**dict(snakemake.wildcards.items()))
    predictions, rows = evaluate(cell, dict(snakemake.input.items()), made, metrics_path, snakemake.params.root)
    files.write_table(predictions_path, predictions, made)
    files.write_json(metrics_path, rows)
