"""The German Traffic Sign Recognition Benchmark."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from workflow_scripts.common.errors import UserError
from workflow_scripts.common.fields import Whole
from workflow_scripts.common.images import Images
from workflow_scripts.datasets._download import Published
from workflow_scripts.datasets._folders import list_folders, list_images, read_lines, refuse_images, refuse_unlisted
from workflow_scripts.datasets._pictures import Fit, Pictures, Sample, standardize

ARCHIVES = "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370"
FINAL, FINAL_MD5 = "GTSRB_Final_Training_Images.zip", "f33fd80ac59bff73c82d25ab499e03a3"
TRAINING = {"final": "GTSRB/Final_Training/Images", "competition": "GTSRB/Training"}
TEST, TEST_LABELS = "GTSRB/Final_Test/Images", "GT-final_test.csv"
LISTS = "GT-*.csv"
"""What the archives have beside the images."""
HOME = "gtsrb"
"""The folder that torchvision puts below the one it is given."""
CLASSES = 43


@dataclass(frozen=True)
class Gtsrb(Pictures, Published):
    """43 classes of traffic signs, of 15 to 250 pixels (Stallkamp, Schlipsing, Salmen, Igel; IJCNN 2011), 12,630 images
    to test on. As BackdoorBench has them: resized whole to 32x32 pixels, whatever their ratio, and not normalized.

    folder: where `gtsrb/` lies; downloaded there where there is a network and it does not. edition: which training
    images; `final` is the 39,209 that the benchmark was published with and BackdoorBench trains on, `competition`
    the 26,640 of them that torchvision downloads. Classes are named by their numbers.
    """

    size: Whole = 32
    fit: Fit = "whole"
    edition: Literal["final", "competition"] = "final"

    title = "GTSRB"
    host = "sid.erda.dk"

    def parts(self) -> tuple[str, ...]:
        return tuple(f"{HOME}/{part}" for part in (TRAINING[self.edition], TEST, TEST_LABELS))

    def remedy(self) -> str:
        training = FINAL if self.edition == "final" else "GTSRB-Training_fixed.zip"
        return (
            f"Unpack {training}, GTSRB_Final_Test_Images.zip and GTSRB_Final_Test_GT.zip from {ARCHIVES} in "
            f"{Path(self.folder, HOME)}, so that {TRAINING[self.edition]}/00000, {TEST} and {TEST_LABELS} are there"
        )

    def load(self) -> tuple[Images, Images]:
        with self.explaining():
            self.fetch(self._download)
            train, test = self._list_training(), self._list_test()
        images = self.read_files(train, test, [str(label) for label in range(CLASSES)])
        return standardize(images, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

    def _download(self, folder: str) -> None:
        """Put what is absent into a folder."""
        from torchvision.datasets import GTSRB

        training, *test = self.parts()
        absent = self.find_absent()
        if training in absent:
            self._download_training(folder)
        if set(test) & set(absent):
            GTSRB(folder, "test", download=True)

    def _download_training(self, folder: str) -> None:
        from torchvision.datasets import GTSRB
        from torchvision.datasets.utils import download_and_extract_archive

        if self.edition == "competition":
            GTSRB(folder, "train", download=True)
        else:
            download_and_extract_archive(f"{ARCHIVES}/{FINAL}", str(Path(folder, HOME)), md5=FINAL_MD5)

    def _list_training(self) -> list[Sample]:
        """All images; the folders are named by their labels."""
        samples = []
        home = Path(self.folder, HOME, TRAINING[self.edition])
        refuse_images(home)
        for folder in list_folders(home):
            if not (folder.name.isdecimal() and int(folder.name) < CLASSES):
                raise UserError(f"{folder} is no class of GTSRB, whose folders are 00000 to {CLASSES - 1:05}")
            samples += [(path, int(folder.name)) for path in list_images(folder, LISTS)]
        return samples

    def _list_test(self) -> list[Sample]:
        from torchvision.datasets import GTSRB

        home = Path(self.folder, HOME)
        read_lines(home / TEST_LABELS)  # refuses what torchvision would wait for
        samples = [(Path(path), label) for path, label in GTSRB(self.folder, "test")._samples]
        refuse_unlisted(home / TEST, [path.name for path, _ in samples], home / TEST_LABELS, LISTS)
        return samples
