"""Rule `poison`: what the attacker publishes, and in another file what stays secret."""

from workflow_scripts.common import truth
from workflow_scripts.common.arguments import Job
from workflow_scripts.common.run import step

with step(snakemake.threads):
    job = Job.of("attack", snakemake.wildcards, snakemake.params.made, snakemake.input)
    truth.publish(job.call(), job.method, job.argument("test"), snakemake.output, job.about)
