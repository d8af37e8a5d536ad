"""Adaptive-Blend beside backdoor-toolbox, which is by its authors: the same images, one picture, the same pieces.

    python -m benchmarks.attacks.adap_blend TOOLBOX PARQUET

TOOLBOX is a checkout of github.com/vtu81/backdoor-toolbox, PARQUET a file of CIFAR-10's images.
"""

import sys
from pathlib import Path
from unittest.mock import MagicMock, patch

import numpy as np
import torch

from benchmarks.attacks._images import HEADER, RUN, describe, read_images
from benchmarks.attacks.adap_patch import to_levels, to_tensor
from benchmarks.compare_tsbd import executed
from workflow_scripts.attacks._pictures import DRAWN, find_picture
from workflow_scripts.attacks.adap_blend import AdaptiveBlend, blend

COUNT = 400
SHAPE = (32, 32, 3)
ATTACK = AdaptiveBlend()


def main(checkout: str, parquet: str) -> None:
    """Print the comparison as Markdown."""
    sys.modules["config"] = MagicMock()
    module = executed(Path(checkout) / "poison_tool_box" / "adaptive_blend.py")
    images, picture = read_images(parquet, COUNT), find_picture(DRAWN, SHAPE)
    data = [(to_tensor(image), 1) for image in images]
    masks: list[torch.Tensor] = []
    draw_mask = module.get_trigger_mask

    def remember(*given: int) -> torch.Tensor:
        masks.append(draw_mask(*given))
        return masks[-1]

    generator = module.poison_generator(
        32, data, 0.5, ".", to_tensor(picture), alpha=ATTACK.train_alpha, cover_rate=0.5, pieces=16, mask_rate=0.5
    )
    vars(module)["print"] = lambda *values: None
    with patch.multiple(module, get_trigger_mask=remember, save_image=lambda *given: None):
        published, payload, cover, _ = generator.generate_poisoned_training_set()
    order = sorted(payload + cover)
    shown = torch.stack(masks[: len(order)])[..., None].numpy()
    here = blend(images[order], picture.astype(np.float32), ATTACK.train_alpha * shown)
    print(HEADER)
    print(describe("payload and covers, their pieces", images[order], here, to_levels(published)[order]))
    transform = module.poison_transform(32, to_tensor(picture), alpha=ATTACK.alpha)
    stacked = torch.stack([image for image, _ in data])
    there = to_levels(transform.transform(stacked, torch.ones(COUNT))[0])
    print(describe("test time", images, ATTACK.make_trigger(SHAPE, RUN)(images), there))
    print(f"\nPixels shown in training: {100 * shown.mean():.1f} % there,", end=" ")
    print(f"{100 * (ATTACK.weaken(0 * images, RUN.numpy_rng('payload')) > 0).any(-1).mean():.1f} % here.")


if __name__ == "__main__":
    main(*sys.argv[1:])
