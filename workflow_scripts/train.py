"""Rule `train`: the victim, trained on the published images."""

from workflow_scripts.jobs.job import Job
from workflow_scripts.jobs.step import step
from workflow_scripts.networks import weights
from workflow_scripts.training.loop import train

with step(snakemake.threads, snakemake.log[0], snakemake.output.costs) as passes:
    job = Job.of("model", snakemake.params.made, snakemake.input, passes)
    model = job.argument("model")
    train(model, job.argument("poisoned_train"), model.recipe, job.run)
    weights.save(snakemake.output.victim, model, job.about)
    job.run.write_log(snakemake.output.log, job.about)
