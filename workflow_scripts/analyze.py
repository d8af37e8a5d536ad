"""Rule `analyze`: what an analysis measured of one cell."""

from workflow_scripts.common import arrow
from workflow_scripts.jobs.job import Job
from workflow_scripts.jobs.step import step

with step(snakemake.threads, snakemake.log[0], jobs_per_gpu=snakemake.config["jobs_per_gpu"]):
    job = Job.of("analysis", snakemake.params.made, snakemake.input)
    table, about = job.call()
    arrow.write_table(snakemake.output[0], table, {**job.about, **dict(snakemake.wildcards.items()), **about})
