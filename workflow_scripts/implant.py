"""Rule `implant`: an attack that controls training; its files lie beside the victim."""

from workflow_scripts.attacks._published import publish
from workflow_scripts.jobs.job import Job
from workflow_scripts.jobs.step import step
from workflow_scripts.networks import weights

with step(snakemake.threads, snakemake.log[0], snakemake.output.costs) as passes:
    job = Job.of("attack", snakemake.params.made, snakemake.input, passes)
    poison = job.call()
    publish(poison, job.method, job.argument("test"), snakemake.output, job.about)
    weights.save(snakemake.output.victim, poison.victim, job.about)
    job.run.write_log(snakemake.output.log, job.about)
