"""Rule `detect`: a detector is handed what its signature names, and judges the published images."""

from workflow_scripts.common import scores
from workflow_scripts.jobs.job import Job
from workflow_scripts.jobs.step import step

with step(snakemake.threads, snakemake.log[0], snakemake.output.costs) as passes:
    job = Job.of("detector", snakemake.params.made, snakemake.input, passes)
    scores.write(snakemake.output.scores, job.call(), job.about)
    job.run.write_log(snakemake.output.log, job.about)
