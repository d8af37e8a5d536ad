"""Rule `against`: which numbers have moved since another commit, by how much, and what changed with them."""

from workflow_scripts.common import arrow, files
from workflow_scripts.common.cells import cell_of
from workflow_scripts.common.errors import UserError
from workflow_scripts.evaluation.commits import read_rows, read_rows_at
from workflow_scripts.evaluation.history import MOVED, find_moved
from workflow_scripts.jobs.step import step
from workflow_scripts.reporting.moved import to_markdown

with step(snakemake.threads, snakemake.log[0]):
    output, commit, name = snakemake.output, snakemake.params.commit, snakemake.params.name
    paths = list(zip(snakemake.input.metrics, snakemake.input.costs, strict=True))
    ours = [row for pair in paths for row in read_rows(*pair)]
    theirs = [row for pair in paths for row in read_rows_at(commit, *pair)]
    if not theirs:
        raise UserError(
            f"the commit {name} has none of these studies, as far as DVC has its files here; name another by "
            "--config commit=…, or get what the remote has of it by `dvc fetch --all-commits`"
        )
    moved = find_moved(theirs, ours)
    here, there = ({cell_of(row) for row in rows} for rows in (ours, theirs))
    arrow.write_table(output.parquet, arrow.to_table(moved, MOVED), {"commit": commit})
    with files.writing(output.md) as temporary:
        temporary.write_text(
            to_markdown(name, moved, len(here & there), len(here - there), len(there - here)), encoding="utf-8"
        )
