"""Rule `plot`: one figure of a study."""

from workflow_scripts.common.cells import Study
from workflow_scripts.jobs.step import step
from workflow_scripts.reporting import plotting

with step(snakemake.threads, snakemake.log[0]):
    figure = plotting.draw(
        snakemake.wildcards.figure,
        snakemake.params.options,
        Study.from_json(snakemake.params.study),
        snakemake.input,
    )
    plotting.save(figure, snakemake.output)
