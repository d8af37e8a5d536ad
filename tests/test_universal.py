"""Attacks whose trigger is searched on a clean model: each step, what bounds the pattern, and where it ends."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import quick, tiny
from torch import nn

from workflow_scripts.attacks.lf import LowFrequency, low_pass
from workflow_scripts.attacks.trojannn import START, TrojanNN, connected_neurons, draw_mask
from workflow_scripts.attacks.universal import Universal
from workflow_scripts.common.images import ImageFormat, Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks.architecture import Architecture
from workflow_scripts.networks.model import Model
from workflow_scripts.techniques.universal import OVERSHOOT, fooling_rate, has_settled, search_perturbation
from workflow_scripts.techniques.universal import shortest_step as step_to
from workflow_scripts.training.inference import predict
from workflow_scripts.training.loader import to_network

SHAPES = [(16, 16, 3), (32, 32, 1), (64, 48, 3)]
Make = Callable[[], Model]


@dataclass(frozen=True)
class Linear(Architecture):
    """Logits that are linear in the pixels."""

    normalized = False

    def build(self, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(channels * size[0] * size[1], classes))


@pytest.fixture
def linear() -> Model:
    torch.manual_seed(0)
    model = Model("linear", Linear(precision="fp32"), made_format((8, 8, 1)))
    return model.requires_grad_(False).eval()


def made_format(shape: tuple[int, int, int]) -> ImageFormat:
    channels = shape[2]
    return ImageFormat(shape, ("a", "b", "c"), (0.5,) * channels, (0.25,) * channels)


def made_images(shape: tuple[int, int, int], count: int = 30) -> Images:
    images = np.random.default_rng(0).integers(60, 190, (count, *shape), np.uint8)
    return Images(images, np.arange(count) % 3, np.arange(count), made_format(shape))


def attacked(attack: Any, model: Model, data: Images) -> Any:
    return attack(train=data, clean_victim=model, ratio=0.2, run=Run("digits", 0))


def test_in_a_linear_model_the_shortest_step_is_one_of_the_textbook(linear: Model) -> None:
    image = torch.full((1, 1, 8, 8), 0.5)
    answers, weight = linear(image)[0], linear.classifier.weight
    first, wanted = int(answers.argmax()), int(answers.argmin())
    slope = weight[wanted] - weight[first]
    step = step_to(linear, image, wanted)
    assert step is not None
    shortest = (answers[first] - answers[wanted]) / slope.square().sum() * slope
    torch.testing.assert_close(step.flatten(), (1 + OVERSHOOT) * shortest)
    assert int(linear(image + step).argmax()) == wanted
    stay = step_to(linear, image, first)
    assert stay is not None and not stay.any()


def test_where_no_slope_leads_there_is_no_step(linear: Model) -> None:
    linear.classifier.weight.data.zero_()
    assert step_to(linear, torch.full((1, 1, 8, 8), 0.5), int(1 - linear.classifier.bias.argmax().clamp(max=1))) is None


def test_a_search_sees_images_as_they_will_be_published(linear: Model) -> None:
    """From white, no step leads above it: the clipped image is what is asked about."""
    linear.classifier.weight.data.abs_()
    linear.classifier.weight.data[1] += 1
    linear.classifier.bias.data[:] = torch.tensor([100.0, 0, 0])
    assert step_to(linear, torch.ones(1, 1, 8, 8), 1) is None


def test_a_perturbation_is_searched_until_answers_change(linear: Model) -> None:
    data, run = made_images((8, 8, 1)), Run("digits", 0)
    before = predict(linear, data.images)
    wanted = int(np.bincount(before, minlength=3).argmin())
    found = search_perturbation(linear, data, np.full(len(data), wanted), data, torch.add, run, fooling=0.6)
    images = to_network(torch.from_numpy(data.images)) / 255
    assert fooling_rate(linear, images + found, before) == run.notes["fooling_rate"] >= 0.6
    assert (linear((images + found).clamp(0, 1)).argmax(1) == wanted).float().mean() >= 0.6


def test_what_is_answered_as_wanted_gives_no_step(linear: Model) -> None:
    data, run = made_images((8, 8, 1)), Run("digits", 0)
    found = search_perturbation(linear, data, predict(linear, data.images), data, torch.add, run)
    assert not found.any() and run.notes == {"fooling_rate": 0.0, "passes": 5}


def test_a_search_has_settled_when_five_passes_have_the_same_rate() -> None:
    assert has_settled([0.9, 0.1, 0.1, 0.101, 0.1, 0.1])
    assert not has_settled([0.1, 0.1, 0.1, 0.1]) and not has_settled([0.1, 0.1, 0.12, 0.1, 0.1])


@pytest.mark.parametrize(("length", "sigma", "taps"), [(16, 3.0, 15), (32, 6.0, 30), (64, 12.0, 60)])
def test_the_low_pass_is_a_gaussian_that_is_dark_outside(length: int, sigma: float, taps: int) -> None:
    row = low_pass(2 * length, sigma)[length]
    assert (row > 0).sum() == taps and row.sum() == pytest.approx(1, abs=1e-6)
    center = length + (0 if taps % 2 else 0.5)
    distance = torch.arange(2 * length) - center
    expected = torch.where(row > 0, torch.exp(-((distance / sigma) ** 2) / 2), 0.0)
    torch.testing.assert_close(row, expected / expected.sum())
    inside = low_pass(length, sigma).sum(1)
    assert inside[0] < 0.7 and inside[-1] < 0.7 and inside[length // 2] > 0.9


def test_the_smooth_pattern_is_smooth_and_spans_its_strength(untrained: Make, digits: tuple[Images, Images]) -> None:
    attack = LowFrequency(surrogate="preact_small", samples=10, epochs=1, strength=40)
    pattern = attack.search(digits[0], untrained(), Run("digits", 0))
    assert pattern.shape == (16, 16, 3) and pattern.min() == 0 and pattern.max() == pytest.approx(40)
    jumps = [np.abs(np.diff(pattern, axis=axis)).max() for axis in (0, 1)]
    assert max(jumps) < 40 / 3, "sigma is 3 pixels"
    black = attacked(attack, untrained(), digits[0]).trigger(np.zeros((1, 16, 16, 3), np.uint8))[0]
    assert np.array_equal(black, np.rint(pattern).astype(np.uint8))


def test_a_universal_perturbation_stays_within_epsilon(victim: Make, digits: tuple[Images, Images]) -> None:
    attack = Universal(surrogate="preact_small", samples=10, epochs=1, epsilon=12)
    trigger = attacked(attack, victim(), digits[0]).trigger
    gray = np.full((1, 16, 16, 3), 128, np.uint8)
    moved = trigger(gray).astype(int) - 128
    assert moved.max() == 12 and moved.min() == -12
    assert trigger(np.zeros_like(gray)).max() == 12 and trigger(np.full_like(gray, 255)).min() == 243


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["lf", "universal", "trojannn"])
def test_images_of_any_shape(name: str, shape: tuple[int, int, int]) -> None:
    data = made_images(shape)
    model = tiny("preact_small", data.format).requires_grad_(False).eval()
    attack = quick("attacks", name)
    few = {"samples": 2} if hasattr(attack, "samples") else {}
    poison = attacked(replace(attack, **few), model, data)
    assert poison.altered.images.shape == (6, *shape) and poison.altered.images.dtype == np.uint8
    assert (poison.trigger(data.images) != data.images).any((1, 2, 3)).all()


@pytest.mark.parametrize("side", [16, 32, 64, 224])
def test_the_mask_is_an_apple_in_its_box(side: int) -> None:
    mask = draw_mask((side, side, 3))
    for axis, (first, last) in ((1, (16, 30)), (0, (17, 29))):
        found = np.flatnonzero(mask.any(axis)) * 32 / side
        assert first - 1 <= found[0] <= first + 1 and last - 1 <= found[-1] + 32 / side <= last + 1
    assert 95 < mask.sum() * (32 / side) ** 2 < 125, "BackdoorBench's has 117 pixels of 32x32"


def test_the_best_connected_neurons_are_excited(victim: Make) -> None:
    model, mask, run = victim(), draw_mask((16, 16, 3)), Run("digits", 0)
    model.classifier.weight.data[:, [3, 5]] *= 1000
    assert sorted(connected_neurons(model, 2).tolist()) == [3, 5]
    patch = TrojanNN(surrogate="preact_small", steps=20).search(model, mask, run)
    assert run.notes["loss_after"] < run.notes["loss_before"]
    moved = patch / 255 - START
    assert (patch[~mask] == round(255 * START)).all() and 0.2 < np.abs(moved[mask]).max() < 0.3 + 1 / 255


def test_the_patch_covers_the_image_or_is_added_to_it(victim: Make, digits: tuple[Images, Images]) -> None:
    images, mask = digits[1].images, draw_mask((16, 16, 3))
    covering = TrojanNN(surrogate="preact_small", steps=2)
    covered = attacked(covering, victim(), digits[0]).trigger(images)
    assert np.array_equal(covered[:, ~mask], images[:, ~mask]) and (covered[:, mask] == covered[0, mask]).all()
    added = attacked(replace(covering, mixing="add"), victim(), digits[0]).trigger(images)
    bright = images[:, mask].astype(int) + covered[:, mask]
    assert np.array_equal(added[:, ~mask], images[:, ~mask]) and np.array_equal(added[:, mask], bright.clip(max=255))
    assert bright.max() > 255
