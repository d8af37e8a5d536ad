"""The battery over every attack of the catalog: what holds for each, whoever wrote it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from conftest import quick

from workflow_scripts.attacks import Planted
from workflow_scripts.attacks.wanet import rotated, whole_batch
from workflow_scripts.common import catalog
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.models import Model

ATTACKS = [name for name in catalog.names("attacks") if name != "none"]
RATIO = 0.05
Plant = Callable[..., Planted]


@pytest.fixture(scope="module")
def plant(digits: tuple[Images, Images], untrained: Callable[[], Model]) -> Plant:
    """Runs an attack on the small digits."""

    def planted(name: str, ratio: float = RATIO, seed: int = 0, **fields: object) -> Planted:
        attack = quick("attacks", name)
        attack = type(attack)(**{**vars(attack), **fields})
        given = {"train": digits[0], "ratio": ratio, "run": Run("digits", seed), "model": untrained()}
        return attack(**{key: given[key] for key in catalog.describe("attacks", name).asks})

    return planted


@pytest.mark.parametrize("name", ATTACKS)
def test_exactly_the_declared_rows_differ(name: str, plant: Plant, digits: tuple[Images, Images]) -> None:
    train = digits[0]
    planted = plant(name)
    published = train.overwritten(planted.changed)
    altered = (published.images != train.images).any(axis=(1, 2, 3)) | (published.labels != train.labels)
    assert set(train.index[altered]) <= set(planted.changed.index.tolist())
    assert altered.sum() >= 0.9 * len(planted.changed)  # some images a trigger may leave as they are
    assert np.array_equal(planted.original_labels, train.labels[planted.changed.index])
    assert len(set(planted.changed.index.tolist())) == len(planted.changed)


@pytest.mark.parametrize("name", ATTACKS)
def test_roles_labels_and_ratio(name: str, plant: Plant, digits: tuple[Images, Images]) -> None:
    planted = plant(name)
    payload, cover = (planted.roles == role for role in ("payload", "cover"))
    assert (payload | cover).all()
    assert payload.sum() == round(RATIO * len(digits[0]))
    assert (planted.changed.labels[payload] == 0).all()
    assert (planted.changed.labels[cover] == planted.original_labels[cover]).all()
    if catalog.describe("attacks", name).traits["clean_label"]:
        assert np.array_equal(planted.changed.labels, planted.original_labels)
    else:
        assert len(set(planted.original_labels[payload].tolist())) > 5


@pytest.mark.parametrize("name", ATTACKS)
def test_the_seed_decides(name: str, plant: Plant) -> None:
    first, again, other = plant(name), plant(name), plant(name, seed=1)
    assert np.array_equal(first.changed.images, again.changed.images)
    assert np.array_equal(first.changed.index, again.changed.index)
    assert not np.array_equal(first.changed.index, other.changed.index)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_larger_ratio_contains_the_smaller(name: str, plant: Plant) -> None:
    small, large = plant(name, 0.02), plant(name, 0.06)
    for role in ("payload", "cover"):
        inner, outer = (p.changed.index[p.roles == role].tolist() for p in (small, large))
        assert set(inner) <= set(outer)


@pytest.mark.parametrize("name", ATTACKS)
def test_the_trigger_is_a_function_of_uint8_images(name: str, plant: Plant, digits: tuple[Images, Images]) -> None:
    planted, images = plant(name), digits[1].images
    before = images.copy()
    triggered = planted.trigger(images)
    assert triggered.dtype == np.uint8 and triggered.shape == images.shape
    assert np.array_equal(images, before), "the trigger changed its input"
    assert np.array_equal(triggered, planted.trigger(images))
    assert np.array_equal(triggered[:5], planted.trigger(images[:5])), "an image's trigger depends on its neighbours"
    assert (triggered != images).any(axis=(1, 2, 3)).mean() > 0.9


@pytest.mark.parametrize("name", ATTACKS)
def test_asr_leaves_the_target_class_out(name: str, digits: tuple[Images, Images]) -> None:
    labels, attack = digits[1].labels, quick("attacks", name)
    rows, wanted = attack.counted(labels, 10)
    assert 0 not in labels[rows] and len(rows) == (labels != 0).sum() and (wanted == 0).all()


@pytest.mark.parametrize("name", ATTACKS)
def test_all_to_all(name: str, plant: Plant, digits: tuple[Images, Images]) -> None:
    choices = catalog.describe("attacks", name).fields["mapping"].choices
    if "all_to_all" not in choices:
        assert catalog.describe("attacks", name).traits["clean_label"]
        return
    planted = plant(name, mapping="all_to_all")
    payload = planted.roles == "payload"
    assert (planted.changed.labels[payload] == (planted.original_labels[payload] + 1) % 10).all()
    attack = catalog.make("attacks", name, {"mapping": "all_to_all"})
    rows, wanted = attack.counted(digits[1].labels, 10)
    assert len(rows) == len(digits[1]) and (wanted == (digits[1].labels + 1) % 10).all()


def test_no_attack_alters_nothing(digits: tuple[Images, Images], run: Run) -> None:
    planted = catalog.make("attacks", "none", {})(train=digits[0], ratio=0.0, run=run)
    assert len(planted.changed) == 0 and planted.trigger(digits[1].images) is digits[1].images


def test_badnets_is_a_white_corner(digits: tuple[Images, Images], run: Run) -> None:
    images = digits[1].images
    stamped = catalog.make("attacks", "badnets", {"side": 3}).trigger(images.shape[1:], run)(images)
    assert (stamped[:, -3:, -3:] == 255).all()
    stamped[:, -3:, -3:] = images[:, -3:, -3:]
    assert np.array_equal(stamped, images)


@pytest.mark.parametrize(("height", "side"), [(16, 2), (32, 3), (64, 6), (224, 21)])
def test_badnets_scales(height: int, side: int, run: Run) -> None:
    black = np.zeros((1, height, height, 3), np.uint8)
    stamped = catalog.make("attacks", "badnets", {}).trigger((height, height, 3), run)(black)
    assert (stamped[0, :, :, 0] == 255).sum() == side**2


def test_wanets_batch_augmentation_draws_once_and_keeps_the_mean_outside(digits: tuple[Images, Images]) -> None:
    images = torch.full((4, 16, 16, 3), 90, dtype=torch.uint8)
    augment = whole_batch(torch.tensor([30.0, 60.0, 120.0]), flip=True)
    for seed in range(20):
        changed = augment(images, torch.Generator().manual_seed(seed))
        assert (changed == changed[:1]).all(), "one draw for the whole batch"
        colours = {tuple(pixel) for pixel in changed.reshape(-1, 3).tolist()}
        assert colours <= {(90, 90, 90), (30, 60, 120)}, "nearest pixels, the mean colour from outside"


def test_a_turn_and_back_again(digits: tuple[Images, Images]) -> None:
    images = torch.from_numpy(digits[1].images[:3]).float()
    quarter = torch.tensor([torch.pi / 2])
    assert torch.equal(rotated(images, quarter), images.rot90(1, (1, 2)))
    assert torch.equal(rotated(rotated(images, quarter), -quarter), images)
