"""Rule `collect`: a study's cells in one table, what they cost, and their summary."""

from workflow_scripts.common import arrow
from workflow_scripts.common.cells import Cell, Study
from workflow_scripts.evaluation.collecting import collect
from workflow_scripts.evaluation.costs import collect_costs
from workflow_scripts.evaluation.summary import summarize, write_summary
from workflow_scripts.jobs.step import step

with step(snakemake.threads, snakemake.log[0]):
    inputs, output, params = snakemake.input, snakemake.output, snakemake.params
    table = collect(inputs.metrics, params.expected, params.root, params.references)
    arrow.write_table(output.metrics, table)
    cells = [Cell(*cell) for cell in params.cells]
    arrow.write_table(output.costs, collect_costs(cells, inputs.costs, params.behind))
    write_summary(summarize(Study.from_json(params.study), table.to_pylist()), output.summary, output.rows)
