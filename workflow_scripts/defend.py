"""Rule `defend`: a defense is handed what its signature names, and nothing else."""

from workflow_scripts.jobs.job import Job
from workflow_scripts.jobs.step import step
from workflow_scripts.networks import weights

with step(snakemake.threads, snakemake.log[0], snakemake.output.costs) as passes:
    job = Job.of("defense", snakemake.params.made, snakemake.input, passes)
    weights.save(snakemake.output.model, job.call(), job.about)
    job.run.write_log(snakemake.output.log, job.about)
