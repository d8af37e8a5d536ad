"""Attacks that control training: which images they choose, and what is special to each."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import Hand, is_of_record, quick

from workflow_scripts.attacks import Poison
from workflow_scripts.attacks._generators import EncoderDecoder, InputAwareTrigger, root_mean_square
from workflow_scripts.attacks._implants import Implant, draw_others, find_roles
from workflow_scripts.attacks.bpp import Bpp, nearest
from workflow_scripts.attacks.input_aware import put_on_batch
from workflow_scripts.common import catalog, spellings
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model

IMPLANTS = [n for n in catalog.list_methods("attacks") if spellings.is_implant(n) and not is_of_record(n)]
SIZE = 32
"""Images in a batch of the small network's recipe."""
Untrained = Callable[[], Model]


def implant(name: str, hand: Hand, untrained: Untrained, run: Run, **fields: object) -> Poison:
    attack, model = quick("attacks", name), untrained()
    model.recipe = dataclasses.replace(model.recipe, epochs=1)
    made: Poison = dataclasses.replace(attack, **fields)(**hand("attacks", name, model=model, run=run, ratio=0.1))
    return made


@pytest.mark.parametrize("name", IMPLANTS)
def test_the_first_of_each_batch_are_published(
    name: str, hand: Hand, untrained: Untrained, digits: tuple[Images, Images], run: Run
) -> None:
    poison = implant(name, hand, untrained, run, choice="batch", mapping="all_to_all", cover_ratio=1.0, cover_share=0.0)
    train, places = digits[0], poison.altered.index
    payload, cover = (poison.roles == role for role in ("payload", "cover"))
    for start in range(0, len(train), SIZE):
        first = np.sort(places[payload & (places >= start) & (places < start + SIZE)])
        then = np.sort(places[cover & (places >= start) & (places < start + SIZE)])
        both = np.concatenate([first, then])
        assert both.tolist() == list(range(start, start + len(both))) and len(then) == len(first)
    assert payload.sum() == pytest.approx(0.1 * len(train), abs=6)
    assert (poison.altered.labels[payload] == (train.labels[places[payload]] + 1) % 10).all()
    assert (poison.altered.labels[cover] == train.labels[places[cover]]).all()


def test_a_batch_holds_its_share_in_the_mean() -> None:
    choose = Implant(cover_ratio=2.0, cover_share=0.01)._choose_first(6400, 0.07, Run("digits", 0))
    payload, cover = find_roles(choose, 6400, 64)
    assert len(payload) / 6400 == pytest.approx(0.07, abs=0.002)
    assert len(cover) / 6400 == pytest.approx(0.15, abs=0.004)
    sizes = np.unique(payload // 64, return_counts=True)[1]
    assert set(sizes.tolist()) == {4, 5}, "4.48 of 64"


def test_a_share_below_one_image_is_one_image_in_some_batches() -> None:
    payload, cover = find_roles(Implant()._choose_first(6400, 0.005, Run("digits", 0)), 6400, 64)
    assert 20 <= len(payload) <= 44 and (payload % 64 == 0).all() and not len(cover)


def test_the_victim_learns_the_attackers_labels(
    hand: Hand, untrained: Untrained, digits: tuple[Images, Images], run: Run
) -> None:
    for choice in ("fixed", "batch"):
        model = untrained()
        attack = Bpp(choice=choice, bits=1, cover_share=0.0, training="recipe")
        attack(**hand("attacks", "bpp", model=model, run=run, ratio=1.0))
        assert run.rows[-1]["accuracy"] > 0.99, "all are payload, and hits are counted by their labels"


def test_too_many_covers_are_refused(digits: tuple[Images, Images], untrained: Untrained, run: Run) -> None:
    with pytest.raises(UserError, match=r"the ratio may be at most 0\.9$"):
        Bpp()(train=digits[0], model=untrained(), ratio=0.95, run=run)


def test_another_image_is_another() -> None:
    stream, positions = torch.Generator().manual_seed(0), torch.arange(5).repeat(200)
    others = draw_others(positions, 5, stream)
    assert (others != positions).all()
    assert torch.bincount(others[positions == 2], minlength=5)[[0, 1, 3, 4]].min() > 25


def diffuse(values: np.ndarray, bits: int) -> np.ndarray:
    """Floyd and Steinberg's dithering of (H, W), pixel by pixel."""
    values = np.pad(values.astype(float), ((0, 1), (1, 1)))
    for row in range(values.shape[0] - 1):
        for column in range(1, values.shape[1] - 1):
            old = values[row, column]
            values[row, column] = nearest(torch.tensor(old), bits)
            error = (old - values[row, column]) / 16
            values[row, column + 1] += 7 * error
            values[row + 1, column - 1 : column + 2] += np.array([3, 5, 1]) * error
    return values[:-1, 1:-1]


@pytest.mark.parametrize("shape", [(16, 16, 1), (9, 13, 3), (1, 5, 3)])
def test_bpp_dithers_as_one_would_by_hand(shape: tuple[int, int, int], run: Run) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, *shape)).astype(np.uint8)
    found = Bpp(dithering=True).make_trigger(shape, run)(images)
    for image, dithered in zip(images, found, strict=True):
        for channel in range(shape[2]):
            assert np.array_equal(np.rint(diffuse(image[..., channel], 3)), dithered[..., channel])


@pytest.mark.parametrize("dithering", [False, True])
def test_bpp_has_few_levels_which_it_leaves_alone(dithering: bool, run: Run) -> None:
    images = np.arange(256).astype(np.uint8).reshape(1, 16, 16, 1)
    trigger = Bpp(bits=2, dithering=dithering).make_trigger((16, 16, 1), run)
    assert set(trigger(images).flatten().tolist()) == {0, 85, 170, 255}
    assert np.array_equal(trigger(trigger(images)), trigger(images))


def test_bpp_negatives_carry_another_images_residual(digits: tuple[Images, Images], run: Run) -> None:
    attack, train = Bpp(bits=2), digits[0]
    gray = np.full_like(train.images[:1], 128)
    cover = attack.make_cover(train, run)
    made = cover(torch.from_numpy(gray), torch.tensor([7]), torch.Generator().manual_seed(1)).numpy()
    residuals = attack.make_trigger(train.format.shape, run)(train.images).astype(int) - train.images
    matches = np.flatnonzero((residuals == made.astype(int) - 128).all(axis=(1, 2, 3)))
    assert len(matches) == 1 and matches[0] != 7


@pytest.fixture
def trigger(digits: tuple[Images, Images], run: Run) -> InputAwareTrigger:
    with run.seeded("generators"):
        made = InputAwareTrigger(digits[0].format, 4)
        for _ in range(30):  # until the running averages are the images'
            made.change(*[torch.from_numpy(digits[0].images[:8])] * 2)
    return made.eval()


@pytest.mark.parametrize("size", [16, 18, 32, 64])
def test_a_generator_keeps_the_size(size: int) -> None:
    made = EncoderDecoder(3, 1, 2)(torch.rand(2, 3, size, size))
    assert made.shape == (2, 1, size, size) and made.min() >= 0 and made.max() <= 1


def test_only_its_own_rows_of_a_batch_are_triggered(trigger: InputAwareTrigger) -> None:
    images, others = torch.rand(2, 6, 3, 16, 16).unbind()
    payload, cover = torch.tensor([4, 0]), torch.tensor([1])
    made, lacking = put_on_batch(trigger, images, others[:2], payload, cover)
    assert torch.nonzero((made != images).flatten(1).any(1)).flatten().tolist() == [0, 1, 4]
    own = trigger(images[4:5], trigger.make_patterns(images[4:5]), trigger.make_masks(images[4:5]))
    foreign = trigger(images[1:2], trigger.make_patterns(others[:1]), trigger.make_masks(others[:1]))
    assert torch.allclose(made[4:5], own, atol=1e-5) and torch.allclose(made[1:2], foreign, atol=1e-5)
    lacking.backward()
    assert all(weight.grad is not None for weight in trigger.pattern.parameters())
    nothing = torch.tensor([], dtype=torch.long)
    same, none = put_on_batch(trigger, images, others[:0], nothing, nothing)
    assert same is images and none == 0


def test_masks_that_are_alike_have_a_gradient() -> None:
    same = torch.zeros(2, 1, 4, 4, requires_grad=True)
    root_mean_square(same).sum().backward()
    assert same.grad is not None and (same.grad == 0).all()


def test_covers_wear_another_images_trigger(trigger: InputAwareTrigger, digits: tuple[Images, Images]) -> None:
    images = torch.from_numpy(digits[0].images[:8])
    own, foreign = trigger.change(images, images), trigger.change(images, images.flip(0))
    assert own.dtype == torch.uint8 and (own != foreign).any((1, 2, 3)).all()
    assert torch.equal(trigger.change(images[:3], images[5:].flip(0)), foreign[:3])


def test_the_mask_learns(hand: Hand, untrained: Untrained, run: Run) -> None:
    implant("input_aware", hand, untrained, run, mask_epochs=5)
    losses = [row["loss"] for row in run.rows if row["phase"] == "mask"]
    assert len(losses) == 5 and losses[-1] < 0.8 * losses[0]
