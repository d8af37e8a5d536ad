"""Imagenette, as torchvision reads it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from workflow_scripts.common.fields import Whole
from workflow_scripts.common.images import Images
from workflow_scripts.datasets._download import Published
from workflow_scripts.datasets._pictures import Pictures, standardize

ARCHIVES = {"320px": "imagenette2-320", "160px": "imagenette2-160", "full": "imagenette2"}


@dataclass(frozen=True)
class Imagenette(Pictures, Published):
    """Ten classes of ImageNet that are easily told apart (Howard 2019): 9,469 photographs to train, 3,925 to test on.
    Normalized as ImageNet is.

    folder: where `imagenette2-320/` lies, or that of another edition; downloaded there where there is a network and it
    does not. edition: how long the shorter side is as it is stored; `full` is as ImageNet has them.
    """

    size: Whole = 224
    edition: Literal["320px", "160px", "full"] = "320px"

    title = "Imagenette"
    host = "s3.amazonaws.com"

    def parts(self) -> tuple[str, ...]:
        return (ARCHIVES[self.edition],)

    def remedy(self) -> str:
        name = ARCHIVES[self.edition]
        place = Path(self.folder, name)
        return f"Unpack {name}.tgz from https://{self.host}/fast-ai-imageclas so that {place}/train and /val are there"

    def load(self) -> tuple[Images, Images]:
        from torchvision.datasets import Imagenette as Source

        with self.explaining():
            self.fetch(lambda folder: Source(folder, size=self.edition, download=True))
            train, test = (Source(self.folder, split, self.edition) for split in ("train", "val"))
        samples = [[(Path(path), label) for path, label in part._samples] for part in (train, test)]
        images = self.read_files(samples[0], samples[1], [names[0] for names in train.classes])
        return standardize(images, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
