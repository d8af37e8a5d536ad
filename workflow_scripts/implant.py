"""Rule `implant`: an attack that controls training; its files lie beside the victim."""

from workflow_scripts.common import truth, weights
from workflow_scripts.common.arguments import Job
from workflow_scripts.common.run import step

with step(snakemake.threads, snakemake.output.costs):
    job = Job.of("attack", snakemake.wildcards, snakemake.params.made, snakemake.input)
    planted = job.call()
    truth.publish(planted, job.method, job.argument("test"), snakemake.output, job.about)
    weights.save(snakemake.output.victim, planted.victim, job.about)
    job.run.write_log(snakemake.output.log, job.about)
