"""scikit-learn's bundled handwritten digits."""

from dataclasses import dataclass

import numpy as np

from workflow_scripts.common.fields import Count
from workflow_scripts.common.images import Images
from workflow_scripts.datasets import Dataset, from_arrays


@dataclass(frozen=True)
class Digits(Dataset):
    """1,797 images of 8x8 pixels (Alpaydin & Kaynak 1998), 1,347 to train and 450 to test, stratified by class; shown
    larger (bilinear), so that a trigger of few pixels has room beside the digit.

    size: pixels of a side. gray: of one channel, in place of RGB.
    """

    size: Count = 16
    gray: bool = False

    train_counts = (133, 136, 133, 137, 136, 136, 136, 134, 131, 135)

    def load(self) -> tuple[Images, Images]:
        from PIL import Image
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        digits = load_digits()
        gray = np.rint(digits.images * 255 / 16).astype(np.uint8)
        side, bilinear = (self.size, self.size), Image.Resampling.BILINEAR
        large = np.stack([np.asarray(Image.fromarray(image).resize(side, bilinear)) for image in gray])
        shown = np.repeat(large[..., None], 1 if self.gray else 3, axis=3)
        train, test = train_test_split(np.arange(len(shown)), test_size=450, stratify=digits.target, random_state=0)
        first, second = ((shown[rows], digits.target[rows]) for rows in map(np.sort, (train, test)))
        return from_arrays(first, second, [str(name) for name in digits.target_names])
