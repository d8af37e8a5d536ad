"""Imagenette, as torchvision reads it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from workflow_scripts.common.errors import UserError
from workflow_scripts.common.fields import Whole
from workflow_scripts.common.images import Images
from workflow_scripts.datasets._download import Published
from workflow_scripts.datasets._folders import list_classes
from workflow_scripts.datasets._pictures import Pictures, Sample, standardize

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
            names = {number: Source._WNID_TO_CLASS[number][0] for number in sorted(Source._WNID_TO_CLASS)}
            train, test = (self._list_part(part, list(names)) for part in ("train", "val"))
        images = self.read_files(train, test, list(names.values()))
        return standardize(images, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

    def _list_part(self, part: str, numbers: list[str]) -> list[Sample]:
        """The images of `train` or `val`, where each class has a folder that is called by its WordNet number."""
        home = Path(self.folder, ARCHIVES[self.edition], part)
        for number in numbers:
            if not (home / number).is_dir():
                raise UserError(self._explain(f"{home / number} is not there"))
        return list_classes(home, numbers)
