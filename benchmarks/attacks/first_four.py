"""The triggers of BadNets, Blended, SIG and WaNet beside BackdoorBench's.

    python -m benchmarks.attacks.first_four BACKDOORBENCH PARQUET

BACKDOORBENCH is a checkout of github.com/SCLBD/BackdoorBench, PARQUET a file of CIFAR-10's images.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from benchmarks.attacks._images import HEADER, RUN, describe, read_images
from benchmarks.compare_tsbd import executed
from workflow_scripts.attacks._pictures import DRAWN, find_picture
from workflow_scripts.common import catalog

COUNT = 200
SHAPE = (32, 32, 3)


def main(checkout: str, parquet: str) -> None:
    """Print the comparison as Markdown."""
    images = read_images(parquet, COUNT)
    official = list_official(Path(checkout), images)
    print(HEADER)
    for name, values in official:
        print(describe(name, images, catalog.make("attacks", name, {}).make_trigger(SHAPE, RUN)(images), values))


def list_official(checkout: Path, images: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Each attack, and the same images as BackdoorBench triggers them: uint8 or float (N, 32, 32, 3) of 255."""
    transforms = checkout / "utils" / "bd_img_transform"
    patch = np.asarray(Image.open(checkout / "resource/badnet/trigger_image.png").convert("RGB"))
    yield "badnets", executed(transforms / "patch.py").AddMaskPatchTrigger(patch)(images)
    picture = find_picture(DRAWN, SHAPE)  # Backstop's on both sides
    yield "blended", executed(transforms / "blended.py").blendedImageAttack(picture, 0.2)(images.astype(float))
    sig = executed(transforms / "sig.py").sigTriggerAttack()
    yield "sig", np.stack([sig(image) for image in images])
    yield "wanet", warp_there(checkout / "attack" / "wanet.py", images)


def warp_there(path: Path, images: np.ndarray) -> np.ndarray:
    """float (N, 32, 32, 3) of 255: by the statements of the official file that make the grid, from the same draws."""
    torch.set_rng_state(RUN.torch_rng("trigger").get_state())
    names: dict[str, Any] = {"torch": torch, "F": F, "nn": torch.nn, "self": SimpleNamespace(device="cpu")}
    names["args"] = SimpleNamespace(k=4, s=0.5, input_height=32, grid_rescale=1, device="cpu", non_blocking=False)
    exec(compile(ast.Module(list(_find_statements(path)), []), str(path), "exec"), names)
    values = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    warped = F.grid_sample(values, names["grid_temps"].repeat(len(values), 1, 1, 1), align_corners=True)
    return warped.permute(0, 2, 3, 1).numpy()


def _find_statements(path: Path) -> Iterator[ast.stmt]:
    """The first assignments of the names that lead to the grid, in their order."""
    wanted = ["ins", "ins", "noise_grid", "array1d", "x y", "identity_grid", "grid_temps", "grid_temps"]
    found = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Assign)]
    for node in sorted(found, key=lambda node: node.lineno):
        target = node.targets[0]
        names = target.elts if isinstance(target, ast.Tuple) else [target]
        if wanted and " ".join(getattr(name, "id", "") for name in names) == wanted[0]:
            wanted.pop(0)
            yield node


if __name__ == "__main__":
    main(*sys.argv[1:])
