"""Rule `collect`: all cells in one table, and what they cost."""

from workflow_scripts.common import files
from workflow_scripts.common.cells import Cell
from workflow_scripts.evaluation.collecting import collect, collect_costs, summarize
from workflow_scripts.jobs.step import step

with step(snakemake.threads):
    output, params = snakemake.output, snakemake.params
    table = collect(snakemake.input.metrics, params.expected, params.root)
    files.write_table(output.metrics, table)
    cells = [Cell(*cell) for cell in params.cells]
    paths = snakemake.input.costs, snakemake.input.training, params.before
    files.write_table(output.costs, collect_costs(cells, *paths))
    files.write_json(output.summary, summarize(table, params.studies))
