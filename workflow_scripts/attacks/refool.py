"""Reflection Backdoor: A Natural Backdoor Attack on Deep Neural Networks."""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from workflow_scripts.attacks import DataPoison, Trigger, to_uint8
from workflow_scripts.attacks._pictures import scale
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.fields import Count, PositiveShare, Share
from workflow_scripts.common.run import Run

GAMMA = 2.2
CANVAS = 128
SHAPES = 12


@dataclass(frozen=True)
class Refool(DataPoison):
    """A reflection of another scene, doubled or out of focus, as in a pane of glass (Liu, Ma, Bailey, Lu; ECCV 2020,
    arXiv 2007.02343).

    least, most: the share of the image itself, drawn for each image between these; BackdoorBench's is 0.4, the paper's
    between 0.55 and 0.95. ghost: how many reflections are doubled. scenes: how many there are.
    What is drawn for an image hangs on the seed and the image's own bytes, in training and at test time.

    Differences: the scenes are drawn, gradients and flat shapes, the same for all datasets and seeds, where the paper
    selects photographs by their effect; as in BackdoorBench labels are changed, which the paper leaves. Shifts and
    blurs are given for 32 pixels and grow with the image. Clipped and rounded.
    """

    least: PositiveShare = 0.4
    most: PositiveShare = 0.4
    ghost: Share = 0.49
    scenes: Count = 200

    def make_trigger(self, shape: tuple[int, int, int], run: Run) -> Trigger:
        if self.most < self.least:
            raise UserError(f"refool: most is {self.most:g}, less than least, which is {self.least:g}")
        scenes = [(draw_scene(number, shape) / np.float32(255)) ** GAMMA for number in range(self.scenes)]
        seed = int(run.numpy_rng("trigger").integers(2**62))

        def reflect(image: np.ndarray) -> np.ndarray:
            rng = np.random.default_rng([seed, int.from_bytes(hashlib.sha256(image.tobytes()).digest()[:8])])
            behind = scenes[rng.integers(self.scenes)]
            share = rng.uniform(self.least, self.most)
            light = (image / np.float32(255)) ** GAMMA
            mixed = double(light, behind, share, rng) if rng.random() < self.ghost else blur(light, behind, share, rng)
            return to_uint8(255 * mixed.clip(0, 1) ** (1 / GAMMA))

        return lambda images: np.stack([reflect(image) for image in images]) if len(images) else images


def double(light: np.ndarray, behind: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """float (H, W, C), linear light: a reflection from both sides of a thick pane, shifted by 3 to 8 of 32 pixels."""
    height, width, _ = light.shape
    down, right = np.maximum(1, rng.integers(3, 9, 2) * (height, width) // 32)
    first = np.pad(behind, ((0, down), (0, right), (0, 0)))
    second = np.pad(behind, ((down, 0), (right, 0), (0, 0)))
    part = abs(rng.integers(2) - rng.uniform(0.15, 0.5))
    both = (part * first + (1 - part) * second)[down:height, right:width]
    return (1 - share) * stretch(both, height, width) + share * light


def blur(light: np.ndarray, behind: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """float (H, W, C), linear light: a reflection that is out of focus, dimmed where the sum is too bright, and
    towards the edges."""
    from scipy.ndimage import gaussian_filter

    height, width, _ = light.shape
    sigma = rng.uniform(1, 5) * height / 32
    soft = gaussian_filter(behind, sigma, mode="mirror", radius=int(np.ceil(2 * sigma)), axes=(0, 1))
    total = soft + light
    bright = total > 1
    excess = (total - 1).sum((0, 1), where=bright) / np.maximum(1, bright.sum((0, 1)))
    soft = (soft - excess * (1.08 + rng.uniform(0, 0.1))).clip(0, 1)
    rows, columns = (np.exp(-(np.linspace(-3, 3, side) ** 2) / 4) for side in (height, width))
    return soft * np.outer(rows, columns)[..., None] * (1 - share / 2) + share * light


def stretch(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """float (H, W, C): bilinear, by the centers of pixels."""
    channels_first = torch.from_numpy(values).permute(2, 0, 1)[None]
    stretched: np.ndarray = F.interpolate(channels_first, (height, width), mode="bilinear")[0].permute(1, 2, 0).numpy()
    return stretched


def draw_scene(number: int, shape: tuple[int, int, int]) -> np.ndarray:
    """uint8 (H, W, C): flat shapes of all sizes before a gradient between two levels, nearly gray."""
    from PIL import Image, ImageDraw

    rng = np.random.default_rng([20200823, number])
    darkness = np.exp(rng.uniform(0, 2.5))

    def draw_color() -> np.ndarray:
        return 200 * rng.random() ** darkness + rng.uniform(-15, 15, 3)

    ramp = np.linspace(0, 1, CANVAS)[:, None, None]
    ground = (1 - ramp) * draw_color() + ramp * draw_color()
    picture = Image.fromarray(to_uint8(np.broadcast_to(ground, (CANVAS, CANVAS, 3))))
    pen = ImageDraw.Draw(picture)
    for turn in range(SHAPES):
        left, top = (int(v) for v in rng.integers(-CANVAS // 4, CANVAS, 2))
        wide, high = (int(CANVAS * v) for v in rng.uniform(0.05, 0.7, 2) ** 1.5)
        draw = pen.ellipse if turn % 2 else pen.rectangle
        draw((left, top, left + wide, top + high), fill=tuple(to_uint8(draw_color()).tolist()))
    return scale(picture, shape)
