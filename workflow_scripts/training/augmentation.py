"""Augmentation of a batch, on its device. Crops, flips and rotations take uint8 (B, H, W, C); the views of contrastive
training floats (B, C, H, W) in [0, 1], each image changed by itself."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from workflow_scripts.networks.recipe import Recipe
from workflow_scripts.training.transfer import send

RATIO = 4 / 3
"""A crop's sides differ by this factor at most."""
JITTERED = 0.8
"""The share of views whose colors change."""
SIGMAS = (0.1, 2.0)
"""Standard deviations of the Gaussians that blur, in pixels."""
LUMA = (0.299, 0.587, 0.114)
"""Of red, green and blue: ITU-R BT.601."""


@dataclass(frozen=True)
class Augment:
    """A random change of images in two parts, so that an epoch's draws can be made and sent to the device at once.

    draw: how many images a batch has, and a random stream on the CPU, to what decides about them, (R, P) on the CPU.
    apply: uint8 images (B, H, W, C), and what was drawn for them on their device, to images of the same shape.
    """

    draw: Callable[[int, torch.Generator], torch.Tensor]
    apply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

    def __call__(self, images: torch.Tensor, stream: torch.Generator) -> torch.Tensor:
        """Both, for a batch that is alone."""
        return self.apply(images, send(self.draw(len(images), stream), images.device))


def crop_and_flip(recipe: Recipe) -> Augment:
    """The recipe's random crop and horizontal flip, both in one gather."""

    def draw(count: int, stream: torch.Generator) -> torch.Tensor:
        if not (recipe.crop or recipe.flip):
            return torch.empty(count, 0)
        down, right = torch.randint(2 * recipe.crop + 1, (2, count), generator=stream)
        mirrored = torch.randint(2, (count,), generator=stream) if recipe.flip else torch.zeros_like(down)
        return torch.stack([down, right, mirrored], 1)

    def apply(images: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        if not (recipe.crop or recipe.flip):
            return images
        count, height, width, _ = images.shape
        down, right, mirrored = drawn[:, :, None].unbind(1)
        pad = recipe.crop
        rows = torch.arange(height, device=images.device) + down
        columns = torch.arange(width, device=images.device).expand(count, width)
        columns = torch.where(mirrored.bool(), columns.flip(1), columns)
        padded = F.pad(images, (0, 0, pad, pad, pad, pad))
        image = torch.arange(count, device=images.device)[:, None, None]
        return padded[image, rows[:, :, None], (columns + right)[:, None, :]]

    return Augment(draw, apply)


def augment_whole_batch(fill: torch.Tensor, flip: bool, pad: int = 5, degrees: float = 10.0) -> Augment:
    """BackdoorBench's augmentation for attacks that control training, one draw for all images of a batch: a crop out of
    a border of `pad` in 8 of 10 batches, a rotation of up to `degrees` (nearest pixel) in every other, a flip in every
    other.

    What comes in from outside is `fill` (C,), the mean color: it augments normalized images, whose mean is 0.
    """
    color = fill.round().to(torch.uint8)

    def draw(count: int, stream: torch.Generator) -> torch.Tensor:
        chances = torch.rand(3, generator=stream)
        corner = torch.randint(2 * pad + 1, (2,), generator=stream)
        angle = torch.deg2rad((torch.rand(1, generator=stream) * 2 - 1) * degrees)
        corner = torch.where(chances[0] < 0.8, corner, pad)  # the middle of what is padded, and an angle of 0:
        angle = torch.where(chances[1] < 0.5, angle, 0)  # what changes nothing
        return torch.cat([corner, angle, chances[2:] < 0.5])[None]

    def apply(images: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        count, height, width, channels = images.shape
        down, right, angle, mirrored = drawn[0].split(1)
        places = torch.arange(1.0, height * width + 1, device=images.device).view(1, height, width, 1)
        places = F.pad(places, (0, 0, pad, pad, pad, pad))  # 0: outside
        places = places[:, torch.arange(height, device=images.device) + down.long()]
        places = places[:, :, torch.arange(width, device=images.device) + right.long()]
        places = rotate(places, angle)
        if flip:
            places = torch.where(mirrored.bool(), places.flip(2), places)
        outside = send(color, images.device).expand(count, 1, channels)
        pixels = torch.cat([outside, images.flatten(1, 2)], 1)
        return pixels.index_select(1, places.flatten().long()).view(images.shape)

    return Augment(draw, apply)


def rotate(values: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Images (N, H, W, C) turned by an angle (1,) in radians: nearest pixel, 0 from outside."""
    _, height, width, _ = values.shape
    cosine, sine, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    rows = [cosine, -sine * (height / width), zero], [sine * (width / height), cosine, zero]  # of halves of each side
    turn = torch.stack([torch.cat(row) for row in rows])[None]
    planes = values.permute(0, 3, 1, 2)
    grid = F.affine_grid(turn, [1, *planes.shape[1:]], align_corners=False)
    turned = F.grid_sample(planes, grid.expand(len(values), -1, -1, -1), mode="nearest", align_corners=False)
    return turned.permute(0, 2, 3, 1)


def random_resized_crop(images: torch.Tensor, drawn: torch.Tensor, scale: float, flip: bool) -> torch.Tensor:
    """A crop of a share from `scale` to 1 of each image's area, its sides' ratio 3/4 to 4/3, back at full size,
    bilinear; a side that would be longer than the image's is cut to that. drawn: (B, 5) in [0, 1)."""
    area, ratio, right, down, mirror = drawn.unbind(1)
    area, ratio = scale + (1 - scale) * area, RATIO ** (2 * ratio - 1)
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    theta = images.new_zeros(len(images), 2, 3)
    theta[:, 0, 0] = torch.where(mirror < 0.5, -width, width) if flip else width
    theta[:, 1, 1] = height
    theta[:, 0, 2], theta[:, 1, 2] = (1 - width) * (2 * right - 1), (1 - height) * (2 * down - 1)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False).clamp(0, 1)


def color_jitter(images: torch.Tensor, drawn: torch.Tensor, jitter: float, hue: float, gray: float) -> torch.Tensor:
    """Four of five with brightness, contrast and saturation changed by up to the share `jitter` and the hue turned by
    up to `hue` of the circle; of all, the share `gray` without color. drawn: (B, 6) in [0, 1)."""
    draws = drawn.T[:, :, None, None, None]
    change = (2 * draws[:4] - 1) * (draws[4] < JITTERED)
    bright, contrast, saturation = (1 + jitter * change[:3]).unbind()
    images = (images * bright).clamp(0, 1)
    mean = to_gray(images).mean((2, 3), keepdim=True)
    images = (mean + contrast * (images - mean)).clamp(0, 1)
    shade = to_gray(images)
    images = (shade + saturation * (images - shade)).clamp(0, 1)
    if images.shape[1] == len(LUMA) and hue:
        turn = hue_rotations(2 * math.pi * hue * change[3].flatten())
        images = torch.einsum("bij,bjhw->bihw", turn, images).clamp(0, 1)
    return torch.where(draws[5] < gray, to_gray(images), images)


def to_gray(images: torch.Tensor) -> torch.Tensor:
    """(B, 1, H, W): how bright the pixels are."""
    channels = images.shape[1]
    weights = LUMA if channels == len(LUMA) else [1 / channels] * channels
    return torch.einsum("c,bchw->bhw", send(torch.tensor(weights), images.device), images)[:, None]


def hue_rotations(angles: torch.Tensor) -> torch.Tensor:
    """(B, 3, 3): rotations of colors about the gray axis (Rodrigues' formula)."""
    axis = angles.new_full((3, 3), 1 / 3)
    cross = send(torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]), angles.device) / math.sqrt(3)
    cosine, sine = angles.cos()[:, None, None], angles.sin()[:, None, None]
    return cosine * (torch.eye(3, device=angles.device) - axis) + axis + sine * cross


def gaussian_blur(images: torch.Tensor, drawn: torch.Tensor, share: float) -> torch.Tensor:
    """The share of images under a Gaussian each, of a standard deviation of 0.1 to 2 pixels. drawn: (B, 2) below 1."""
    if not share:
        return images
    chosen, width = drawn.unbind(1)
    low, high = SIGMAS
    sigma = torch.where(chosen < share, low + (high - low) * width, 0.01)  # so narrow that it is the identity
    rows, columns = (_gaussian_weights(sigma, side) for side in images.shape[2:])
    return (rows[:, None] @ images @ columns[:, None].mT).clamp(0, 1)


def _gaussian_weights(sigma: torch.Tensor, side: int) -> torch.Tensor:
    """(B, side, side): row i weighs the pixels of a line for their blurred pixel i; at the edges, those that there
    are."""
    at = torch.arange(side, device=sigma.device)
    weights = torch.exp(-(((at[:, None] - at) / sigma[:, None, None]) ** 2) / 2)
    return weights / weights.sum(2, keepdim=True)
