"""Rule `train_auxiliary`: a network that somebody needs and that is no victim."""

from workflow_scripts.common import weights
from workflow_scripts.common.arguments import Job
from workflow_scripts.common.run import step

with step(snakemake.threads, snakemake.output.costs):
    job = Job.of("auxiliary", snakemake.wildcards, snakemake.params.made, snakemake.input)
    weights.save(snakemake.output.model, job.call(), job.about)
    job.run.write_log(snakemake.output.log, job.about)
