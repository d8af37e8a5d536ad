"""Rule `poison`: what the attacker publishes, and in another file what stays secret."""

from workflow_scripts.attacks._published import publish
from workflow_scripts.jobs.job import Job
from workflow_scripts.jobs.step import step

with step(snakemake.threads, snakemake.log[0], snakemake.output.costs, snakemake.config["jobs_per_gpu"]) as passes:
    job = Job.of("attack", snakemake.params.made, snakemake.input, passes)
    publish(job.call(), job.method, job.argument("test"), snakemake.output, job.about)
