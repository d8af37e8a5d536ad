"""Rule `prepare_data`: every image of a dataset, decoded once."""

from workflow_scripts.common import catalog, image_files, sources
from workflow_scripts.common.run import Run
from workflow_scripts.jobs.step import step

with step(snakemake.threads, snakemake.log[0]):
    made = snakemake.params.made
    dataset = catalog.make("datasets", snakemake.params.loader, made["params"]["dataset"])
    parts = dataset.prepare(Run(snakemake.wildcards.dataset, 0))
    about = {**made, sources.FOUND: sources.hash_content(given)} if (given := dataset.sources()) else made
    for path, part in zip(snakemake.output, parts, strict=True):
        image_files.write_images(path, part, about)
