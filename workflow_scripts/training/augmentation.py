"""Augmentation of a batch, on its device. Crops, flips and rotations take uint8 (B, H, W, C); the views of contrastive
training floats (B, C, H, W) in [0, 1], each image changed by itself."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from workflow_scripts.networks.recipe import Recipe

Augment = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
"""uint8 images (B, H, W, C) and a random stream on the CPU to uint8 images of the same shape."""

RATIO = 4 / 3
"""A crop's sides differ by this factor at most."""
JITTERED = 0.8
"""The share of views whose colours change."""
SIGMAS = (0.1, 2.0)
"""Standard deviations of the Gaussians that blur, in pixels."""
LUMA = (0.299, 0.587, 0.114)
"""Of red, green and blue: ITU-R BT.601."""


def crop_and_flip(recipe: Recipe) -> Augment:
    """The recipe's random crop and horizontal flip, both in one gather."""

    def augment(images: torch.Tensor, stream: torch.Generator) -> torch.Tensor:
        if not (recipe.crop or recipe.flip):
            return images
        count, height, width, _ = images.shape
        pad = recipe.crop
        offset = torch.randint(2 * pad + 1, (2, count, 1), generator=stream).to(images.device)
        rows = torch.arange(height, device=images.device) + offset[0]
        columns = torch.arange(width, device=images.device).expand(count, width)
        if recipe.flip:
            mirrored = torch.randint(2, (count, 1), generator=stream).bool().to(images.device)
            columns = torch.where(mirrored, columns.flip(1), columns)
        padded = F.pad(images, (0, 0, pad, pad, pad, pad))
        image = torch.arange(count, device=images.device)[:, None, None]
        return padded[image, rows[:, :, None], (columns + offset[1])[:, None, :]]

    return augment


def augment_whole_batch(fill: torch.Tensor, flip: bool, pad: int = 5, degrees: float = 10.0) -> Augment:
    """BackdoorBench's augmentation for attacks that control training, one draw for all images of a batch: a crop out of
    a border of `pad` in 8 of 10 batches, a rotation of up to `degrees` (nearest pixel) in every other, a flip in every
    other.

    What comes in from outside is `fill` (C,), the mean color: it augments normalized images, whose mean is 0.
    """

    def augment(images: torch.Tensor, stream: torch.Generator) -> torch.Tensor:
        chances = torch.rand(3, generator=stream)
        down, right = torch.randint(2 * pad + 1, (2,), generator=stream).tolist()
        angle = torch.deg2rad((torch.rand(1, generator=stream) * 2 - 1) * degrees)
        values = images.float() - fill.to(images.device)
        if chances[0] < 0.8:
            height, width = images.shape[1:3]
            values = F.pad(values, (0, 0, pad, pad, pad, pad))[:, down : down + height, right : right + width]
        if chances[1] < 0.5:
            values = rotate(values, angle)
        values = values.flip(2) if flip and chances[2] < 0.5 else values
        return (values + fill.to(images.device)).round().clamp(0, 255).to(torch.uint8)

    return augment


def rotate(values: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Square images (N, H, W, C) turned by an angle (1,) in radians: nearest pixel, 0 from outside."""
    cosine, sine, zero = torch.cos(angle), torch.sin(angle), torch.zeros(1)
    turn = torch.stack([torch.cat([cosine, -sine, zero]), torch.cat([sine, cosine, zero])])[None]
    planes = values.permute(0, 3, 1, 2)
    grid = F.affine_grid(turn, [1, *planes.shape[1:]], align_corners=False).to(values.device)
    turned = F.grid_sample(planes, grid.expand(len(values), -1, -1, -1), mode="nearest", align_corners=False)
    return turned.permute(0, 2, 3, 1)


def random_resized_crop(images: torch.Tensor, stream: torch.Generator, scale: float, flip: bool) -> torch.Tensor:
    """A crop of a share from `scale` to 1 of each image's area, its sides' ratio 3/4 to 4/3, back at full size,
    bilinear; a side that would be longer than the image's is cut to that."""
    count = len(images)
    area, ratio, right, down, mirror = torch.rand(5, count, generator=stream).unbind()
    area, ratio = scale + (1 - scale) * area, RATIO ** (2 * ratio - 1)
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = torch.where(mirror < 0.5, -width, width) if flip else width
    theta[:, 1, 1] = height
    theta[:, 0, 2], theta[:, 1, 2] = (1 - width) * (2 * right - 1), (1 - height) * (2 * down - 1)
    grid = F.affine_grid(theta.to(images.device), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False).clamp(0, 1)


def color_jitter(images: torch.Tensor, stream: torch.Generator, jitter: float, hue: float, gray: float) -> torch.Tensor:
    """Four of five with brightness, contrast and saturation changed by up to the share `jitter` and the hue turned by
    up to `hue` of the circle; of all, the share `gray` without color."""
    draws = torch.rand(6, len(images), generator=stream).to(images.device).view(6, -1, 1, 1, 1)
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
    return torch.einsum("c,bchw->bhw", images.new_tensor(weights), images)[:, None]


def hue_rotations(angles: torch.Tensor) -> torch.Tensor:
    """(B, 3, 3): rotations of colors about the gray axis (Rodrigues' formula)."""
    axis = angles.new_full((3, 3), 1 / 3)
    cross = angles.new_tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    cosine, sine = angles.cos()[:, None, None], angles.sin()[:, None, None]
    return cosine * (torch.eye(3, device=angles.device) - axis) + axis + sine * cross


def gaussian_blur(images: torch.Tensor, stream: torch.Generator, share: float) -> torch.Tensor:
    """The share of images, drawn at random, under a Gaussian each, of a standard deviation of 0.1 to 2 pixels."""
    if not share:
        return images
    chosen, draw = torch.rand(2, len(images), generator=stream).to(images.device)
    low, high = SIGMAS
    sigma = torch.where(chosen < share, low + (high - low) * draw, 0.01)  # so narrow that it is the identity
    rows, columns = (_gaussian_weights(sigma, side) for side in images.shape[2:])
    return (rows[:, None] @ images @ columns[:, None].mT).clamp(0, 1)


def _gaussian_weights(sigma: torch.Tensor, side: int) -> torch.Tensor:
    """(B, side, side): row i weighs the pixels of a line for their blurred pixel i; at the edges, those that there
    are."""
    at = torch.arange(side, device=sigma.device)
    weights = torch.exp(-(((at[:, None] - at) / sigma[:, None, None]) ** 2) / 2)
    return weights / weights.sum(2, keepdim=True)
