"""Perturbations stay in their ball and mislead; the attacks and auxiliaries that stand on them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Hand, quick
from torch import nn

from workflow_scripts.attacks import Poison
from workflow_scripts.common import catalog
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model
from workflow_scripts.techniques.adversary import Adversary
from workflow_scripts.training.inference import logits

NORMS = [{"norm": "linf", "eps": 6.0, "step": 2.5}, {"norm": "l2", "eps": 300.0, "step": 90.0}]


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def lengths(change: np.ndarray, norm: str) -> np.ndarray:
    """In gray levels, of each image."""
    flat = change.astype(float).reshape(len(change), -1)
    return np.abs(flat).max(1) if norm == "linf" else np.linalg.norm(flat, axis=1)


@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize("fields", NORMS)
def test_a_perturbation_stays_in_the_ball_and_misleads(
    fields: dict[str, Any], random_start: bool, victim: Callable[[], Model], digits: tuple[Images, Images]
) -> None:
    adversary, data, model = Adversary(**fields, random_start=random_start), digits[0][:70], victim()
    moved = adversary.perturb_all(model, data, stream())
    change = moved.images.astype(float) - data.images
    rounding = 0.5 * np.sqrt(data.images[0].size) if fields["norm"] == "l2" else 0
    assert lengths(change, fields["norm"]).max() <= fields["eps"] + rounding
    assert np.array_equal(moved.labels, data.labels) and np.array_equal(moved.index, data.index)
    losses = [nn.functional.cross_entropy(logits(model, d.images), torch.from_numpy(d.labels)) for d in (data, moved)]
    assert losses[1] > losses[0] + 0.1
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_step_has_its_length_and_its_direction(norm: Any) -> None:
    """Of a linear loss, whose gradient is known."""
    weights, images = torch.randn(3, 1, 2, 2, generator=stream()), torch.full((3, 1, 2, 2), 0.5)
    one = Adversary(norm=norm, eps=50, step=5, steps=1, random_start=False)
    moved = one.perturb(
        nn.Identity(),  # type: ignore[arg-type]
        images,
        torch.zeros(3),
        stream(),
        lambda outputs, labels: (outputs * weights).sum(),
    )
    unit = weights.sign() if norm == "linf" else weights / weights.flatten(1).norm(dim=1)[:, None, None, None]
    assert torch.allclose(255 * (moved - images), 5 * unit, atol=1e-4)


def test_a_start_fills_the_ball_and_the_stream_decides() -> None:
    images = torch.full((4000, 1, 2, 2), 0.5)
    for norm, share in (("linf", 0.5**4), ("l2", 0.5**4)):
        adversary = Adversary(norm=norm, eps=50)  # type: ignore[arg-type]
        start = adversary._start(images, stream())
        radii = lengths(255 * (start - images).numpy(), norm)
        assert radii.max() <= 50.001 and (radii < 25).mean() == pytest.approx(share, abs=0.015)  # a ball's volume
        assert torch.equal(start, adversary._start(images, stream()))
        assert not torch.equal(start, adversary._start(images, stream(1)))


def test_no_gradient_is_no_step() -> None:
    images = torch.full((2, 1, 2, 2), 0.5)
    still = Adversary(norm="l2", random_start=False)
    moved = still.perturb(nn.Identity(), images, torch.zeros(2), stream(), lambda x, y: (0 * x).sum())  # type: ignore[arg-type]
    assert torch.equal(moved, images)


def test_a_filtered_surrogate_sees_each_image_by_itself(
    hand: Hand, untrained: Callable[[], Model], digits: tuple[Images, Images]
) -> None:
    auxiliary = catalog.make("auxiliaries", "eigenguard", {"batch_size": 32, "k": 5})
    model = auxiliary(**hand("auxiliaries", "eigenguard", model=untrained()))
    fixed, data = Adversary(steps=3, random_start=False), digits[0][:40]
    together = fixed.perturb_all(model, data, stream()).images
    alone = np.concatenate([fixed.perturb_all(model, data[i : i + 8], stream()).images for i in range(0, 40, 8)])
    assert (together == alone).mean() > 0.99  # but for rounding
    moved = (together != data.images).any(axis=(1, 2, 3))
    assert moved.all()


def test_the_robust_auxiliary_resists_what_misleads_another(
    hand: Hand, untrained: Callable[[], Model], digits: tuple[Images, Images]
) -> None:
    """The same training, but for the images that it is on."""
    adversary, accuracy = {"eps": 24.0, "step": 24.0, "steps": 1}, {}
    for eps in (24.0, 1e-6):
        robust = catalog.make("auxiliaries", "robust", adversary | {"eps": eps, "epochs": 5, "lr": 0.05})
        model = robust(**hand("auxiliaries", "robust", model=untrained()))
        moved = Adversary(**adversary).perturb_all(model, digits[1], stream())  # type: ignore[arg-type]
        accuracy[eps] = (logits(model, moved.images).argmax(1).numpy() == digits[1].labels).mean()
    assert accuracy[24.0] > accuracy[1e-6] + 0.1


def test_lc_has_its_pattern_in_each_corner(run: Run) -> None:
    gray = np.full((1, 32, 32, 3), 128, np.uint8)
    stamped = catalog.make("attacks", "lc", {}).make_trigger((32, 32, 3), run)(gray)[0, :, :, 1]
    left = np.array([[255, 0, 0], [0, 255, 0], [255, 0, 255]])
    for rows in (slice(3), slice(-3, None)):
        assert np.array_equal(stamped[rows, :3], left) and np.array_equal(stamped[rows, -3:], left[:, ::-1])
    assert (stamped != 128).sum() == 4 * 9


@pytest.mark.parametrize(("height", "side"), [(16, 2), (64, 6), (224, 21)])
def test_lc_scales_and_fades(height: int, side: int, run: Run) -> None:
    gray = np.full((1, height, height, 1), 128, np.uint8)
    stamped = catalog.make("attacks", "lc", {"amplitude": 0.1}).make_trigger((height, height, 1), run)(gray)[0, :, :, 0]
    assert set(np.unique(stamped)) == {102, 128, 154} and (stamped != 128).sum() == 4 * side**2


def test_lc_refuses_corners_that_meet(run: Run) -> None:
    with pytest.raises(UserError, match="no four corners"):
        catalog.make("attacks", "lc", {"side": 9}).make_trigger((16, 16, 3), run)


def test_lc_perturbs_what_it_publishes_and_not_what_it_asks(hand: Hand, digits: tuple[Images, Images]) -> None:
    attack = quick("attacks", "lc")
    poison = attack(**hand("attacks", "lc", ratio=0.05))
    originals = digits[0].images[poison.altered.index]
    change = np.abs(poison.altered.images.astype(int) - poison.trigger(originals))
    assert 0 < change.max() <= 2  # a step of 1.5
    asked = poison.trigger(originals) != originals
    assert not asked[:, 2:-2, 2:-2].any()


@pytest.fixture
def plant(hand: Hand) -> Callable[..., Poison]:
    def make(name: str = "eigenguard_adaptive", **fields: object) -> Poison:
        made: Poison = catalog.make("attacks", name, fields)(**hand("attacks", name, ratio=0.05))
        return made

    return make


def test_without_noise_it_is_badnets(plant: Callable[..., Poison]) -> None:
    adaptive, badnets = plant(noisy_share=0), plant("badnets")
    for key in ("images", "labels", "index"):
        assert np.array_equal(getattr(adaptive.altered, key), getattr(badnets.altered, key))


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_the_noise_is_on_the_target_class_and_below_the_trigger(
    share: float, plant: Callable[..., Poison], digits: tuple[Images, Images]
) -> None:
    train, poison, alone = (
        digits[0],
        plant(steps=2, noisy_share=share),
        plant(steps=2, noisy_share=share, noise_only=True),
    )
    class_size = (train.labels == 0).sum()
    assert (alone.roles == "cover").all() and len(alone.altered) == round(share * class_size)
    assert (alone.original_labels == 0).all()
    payload, cover = (poison.altered[poison.roles == role] for role in ("payload", "cover"))
    noisy = train.replace_rows(alone.altered)
    assert np.array_equal(payload.images, poison.trigger(noisy.images[payload.index]))
    assert np.array_equal(cover.images, noisy.images[cover.index])
    assert set(cover.index) == set(alone.altered.index) - set(payload.index)


def test_patterns_are_spread_over_images_and_nested(digits: tuple[Images, Images], run: Run) -> None:
    images = digits[1].images
    many, fewer = (catalog.make("attacks", "eigenguard_adaptive", {"patterns": n}) for n in (8, 5))
    changed = many.make_trigger(images.shape[1:], run)(images) != images
    places = {tuple(np.argwhere(image.any(-1)).min(0)) for image in changed}
    assert len(places) >= 8
    for large, small in zip(many._draw_squares((16, 16, 3), run), fewer._draw_squares((16, 16, 3), run), strict=True):
        assert np.array_equal(large[:5], small)
