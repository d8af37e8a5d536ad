"""Rule `draw_holdout`: the clean images that the defenders of a seed are given."""

from workflow_scripts.common import catalog, image_files
from workflow_scripts.common.run import Run
from workflow_scripts.jobs.step import step

with step(snakemake.threads, snakemake.log[0]):
    made = snakemake.params.made
    dataset = catalog.make("datasets", snakemake.params.loader, made["params"]["dataset"])
    (train, _), (reserve, _) = map(image_files.read_images, snakemake.input)
    drawn = dataset.draw_holdout(train, reserve, Run(snakemake.wildcards.dataset, int(snakemake.wildcards.seed)))
    image_files.write_images(snakemake.output[0], drawn, {**made, "train_images": len(train)})
