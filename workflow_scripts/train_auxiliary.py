"""Rule `train_auxiliary`: a network that somebody needs and that is no victim."""

from workflow_scripts.jobs.job import Job
from workflow_scripts.jobs.step import step
from workflow_scripts.networks import weights

with step(snakemake.threads, snakemake.log[0], snakemake.output.costs) as passes:
    job = Job.of("auxiliary", snakemake.params.made, snakemake.input, passes)
    weights.save(snakemake.output.model, job.call(), job.about)
    job.run.write_log(snakemake.output.log, job.about)
