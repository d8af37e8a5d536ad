"""The battery over every attack of the catalog: what holds for each, whoever wrote it."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import Hand, is_of_record, quick

from workflow_scripts.attacks import Poison
from workflow_scripts.attacks.wanet import WaNet
from workflow_scripts.common import catalog
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import Images, format_bound
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model
from workflow_scripts.training.augmentation import augment_whole_batch, rotate

ATTACKS = [name for name in catalog.list_methods("attacks") if name != "none" and not is_of_record(name)]
DATA_POISONS = [name for name in ATTACKS if {*catalog.describe("attacks", name).asks} <= {"train", "ratio", "run"}]
RATIO = 0.05
Plant = Callable[..., Poison]


@pytest.fixture(scope="module")
def plant(hand: Hand, untrained: Callable[[], Model]) -> Plant:
    """Runs an attack on the small digits; the same one only once. A victim that it trains has one epoch."""

    def poison(name: str, ratio: float = RATIO, seed: int = 0, **fields: object) -> Poison:
        attack, model = quick("attacks", name), untrained()
        attack = type(attack)(**{**vars(attack), **fields})
        model.recipe = dataclasses.replace(model.recipe, epochs=1)
        made: Poison = attack(**hand("attacks", name, ratio=ratio, run=Run("digits", seed), model=model))
        return made

    kept = functools.cache(poison)
    return lambda *given, anew=False, **fields: (poison if anew else kept)(*given, **fields)


@pytest.mark.parametrize("name", ATTACKS)
def test_exactly_the_declared_rows_differ(name: str, plant: Plant, digits: tuple[Images, Images]) -> None:
    train = digits[0]
    poison = plant(name)
    published = train.replace_rows(poison.altered)
    altered = (published.images != train.images).any(axis=(1, 2, 3)) | (published.labels != train.labels)
    assert set(train.index[altered]) <= set(poison.altered.index.tolist())
    assert altered.sum() >= 0.9 * len(poison.altered)  # some images a trigger may leave as they are
    assert np.array_equal(poison.original_labels, train.labels[poison.altered.index])
    assert len(set(poison.altered.index.tolist())) == len(poison.altered)


@pytest.mark.parametrize("name", ATTACKS)
def test_roles_labels_and_ratio(name: str, plant: Plant, digits: tuple[Images, Images]) -> None:
    poison = plant(name)
    payload, cover = (poison.roles == role for role in ("payload", "cover"))
    assert (payload | cover).all()
    assert payload.sum() == round(RATIO * len(digits[0]))
    assert (poison.altered.labels[payload] == 0).all()
    assert (poison.altered.labels[cover] == poison.original_labels[cover]).all()
    if catalog.describe("attacks", name).traits["clean_label"]:
        assert np.array_equal(poison.altered.labels, poison.original_labels)
    else:
        assert len(set(poison.original_labels[payload].tolist())) > 5


@pytest.mark.parametrize("name", ATTACKS)
def test_a_ratio_of_no_image_is_refused(name: str, plant: Plant) -> None:
    with pytest.raises(UserError, match="ratio 0.0001 asks for none of the"):
        plant(name, ratio=0.0001)


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("bpp", {"bits": 8}, "bits is 8; it must be a whole number at least 1 and at most 7"),  # nothing would be lost
        ("refool", {"most": 0.1}, "most is 0.1, less than least, which is 0.4"),
        ("adap_blend", {"shown": 0.03}, "shown is 0.03, less than one of its 16 pieces"),
        ("eigenguard_adaptive", {"side": 33, "patterns": 4}, "side is 33, more than the 32x32 pixels"),
    ],
)
def test_a_trigger_that_would_be_none_is_refused(name: str, fields: dict[str, object], said: str, run: Run) -> None:
    with pytest.raises(UserError, match=said):
        catalog.make("attacks", name, fields).make_trigger((32, 32, 3), run)


def test_the_ratio_that_is_named_may_be_asked_for() -> None:
    """Rounded up it would be refused in the same words."""
    for count, total in ((210, 39209), (133, 1347), (2, 3), (9, 10)):
        assert round(float(format_bound(count / total)) * total) <= count


@pytest.mark.parametrize("name", ATTACKS)
def test_the_seed_decides(name: str, plant: Plant) -> None:
    first, again, other = plant(name), plant(name, anew=True), plant(name, seed=1)
    assert np.array_equal(first.altered.images, again.altered.images)
    assert np.array_equal(first.altered.index, again.altered.index)
    assert not np.array_equal(first.altered.index, other.altered.index)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_larger_ratio_contains_the_smaller(name: str, plant: Plant) -> None:
    small, large = plant(name, 0.02), plant(name, 0.06)
    inner, outer = (
        {role: set(p.altered.index[p.roles == role]) for role in ("payload", "cover")} for p in (small, large)
    )
    assert inner["payload"] <= outer["payload"]
    assert inner["cover"] <= outer["cover"] | outer["payload"]  # of fixed covers some may bear the trigger, too


@pytest.mark.parametrize("name", ATTACKS)
def test_the_trigger_is_a_function_of_uint8_images(name: str, plant: Plant, digits: tuple[Images, Images]) -> None:
    poison, images = plant(name), digits[1].images
    before = images.copy()
    triggered = poison.trigger(images)
    assert triggered.dtype == np.uint8 and triggered.shape == images.shape
    assert np.array_equal(images, before), "the trigger changed its input"
    assert np.array_equal(triggered, poison.trigger(images))
    assert np.array_equal(triggered[:5], poison.trigger(images[:5])), "an image's trigger depends on its neighbors"
    assert (triggered != images).any(axis=(1, 2, 3)).mean() > 0.9


@pytest.mark.parametrize("name", ATTACKS)
def test_asr_leaves_the_target_class_out(name: str, digits: tuple[Images, Images]) -> None:
    labels, attack = digits[1].labels, quick("attacks", name)
    rows, wanted = attack.asr_subset(labels, 10)
    assert 0 not in labels[rows] and len(rows) == (labels != 0).sum() and (wanted == 0).all()


@pytest.mark.parametrize("name", ATTACKS)
def test_all_to_all(name: str, plant: Plant, digits: tuple[Images, Images]) -> None:
    choices = catalog.describe("attacks", name).fields["mapping"].choices
    if "all_to_all" not in choices:
        assert catalog.describe("attacks", name).traits["clean_label"]
        return
    poison = plant(name, mapping="all_to_all")
    payload = poison.roles == "payload"
    assert (poison.altered.labels[payload] == (poison.original_labels[payload] + 1) % 10).all()
    attack = catalog.make("attacks", name, {"mapping": "all_to_all"})
    rows, wanted = attack.asr_subset(digits[1].labels, 10)
    assert len(rows) == len(digits[1]) and (wanted == (digits[1].labels + 1) % 10).all()


@pytest.mark.parametrize("name", ATTACKS)
def test_appended_images_are_added(name: str, plant: Plant, digits: tuple[Images, Images]) -> None:
    if "append" not in catalog.describe("attacks", name).fields["placement"].choices:
        return
    train, inside, poison = digits[0], plant(name), plant(name, placement="append")
    payload = poison.roles == "payload"
    assert np.array_equal(poison.altered.images, inside.altered.images)
    published = train.replace_rows(poison.altered[payload])
    assert np.array_equal(published[: len(train)].images, train.images)
    assert np.array_equal(published[len(train) :].images, poison.altered[payload].images)
    assert published.index.tolist() == list(range(len(train) + payload.sum()))


def test_no_attack_alters_nothing(digits: tuple[Images, Images], run: Run) -> None:
    poison = catalog.make("attacks", "none", {})(train=digits[0], ratio=0.0, run=run)
    assert len(poison.altered) == 0 and poison.trigger(digits[1].images) is digits[1].images


def test_badnets_is_a_white_corner(digits: tuple[Images, Images], run: Run) -> None:
    images = digits[1].images
    stamped = catalog.make("attacks", "badnets", {"side": 3}).make_trigger(images.shape[1:], run)(images)
    assert (stamped[:, -3:, -3:] == 255).all()
    stamped[:, -3:, -3:] = images[:, -3:, -3:]
    assert np.array_equal(stamped, images)


@pytest.mark.parametrize(("height", "side"), [(16, 2), (32, 3), (64, 6), (224, 21)])
def test_badnets_scales(height: int, side: int, run: Run) -> None:
    black = np.zeros((1, height, height, 3), np.uint8)
    stamped = catalog.make("attacks", "badnets", {}).make_trigger((height, height, 3), run)(black)
    assert (stamped[0, :, :, 0] == 255).sum() == side**2


def test_wanets_batch_augmentation_draws_once_and_keeps_the_mean_outside(digits: tuple[Images, Images]) -> None:
    images = torch.full((4, 16, 16, 3), 90, dtype=torch.uint8)
    augment = augment_whole_batch(torch.tensor([30.0, 60.0, 120.0]), flip=True)
    for seed in range(20):
        changed = augment(images, torch.Generator().manual_seed(seed))
        assert (changed == changed[:1]).all(), "one draw for the whole batch"
        colors = {tuple(pixel) for pixel in changed.reshape(-1, 3).tolist()}
        assert colors <= {(90, 90, 90), (30, 60, 120)}, "nearest pixels, the mean color from outside"


def test_wanets_batch_augmentation_is_that_of_a_slow_reference(digits: tuple[Images, Images]) -> None:
    images, fill = torch.from_numpy(digits[1].images[:5]), torch.tensor([77.7])
    for seed in range(20):
        stream = torch.Generator().manual_seed(seed)
        chances = torch.rand(3, generator=stream)
        down, right = torch.randint(11, (2,), generator=stream).tolist()
        angle = torch.deg2rad((torch.rand(1, generator=stream) * 2 - 1) * 10)
        values = images.float() - fill
        if chances[0] < 0.8:
            values = F.pad(values, (0, 0, 5, 5, 5, 5))[:, down : down + 16, right : right + 16]
        values = rotate(values, angle) if chances[1] < 0.5 else values
        values = values.flip(2) if chances[2] < 0.5 else values
        changed = augment_whole_batch(fill, flip=True)(images, torch.Generator().manual_seed(seed))
        assert torch.equal(changed, (values + fill).round().to(torch.uint8))


def test_a_turn_and_back_again(digits: tuple[Images, Images]) -> None:
    images = torch.from_numpy(digits[1].images[:3]).float()
    quarter = torch.tensor([torch.pi / 2])
    assert torch.equal(rotate(images, quarter), images.rot90(1, (1, 2)))
    assert torch.equal(rotate(rotate(images, quarter), -quarter), images)


def test_what_is_round_stays_so_in_wide_images() -> None:
    rows, columns = torch.meshgrid(torch.arange(32) - 15.5, torch.arange(96) - 47.5, indexing="ij")
    disc = (rows.square() + columns.square() < 100).float()[None, ..., None]
    turned = rotate(disc, torch.tensor([torch.pi / 4]))
    assert (turned != disc).sum() < 0.05 * disc.sum()


def test_wanet_moves_as_many_pixels_along_either_side(run: Run) -> None:
    shape = (32, 96, 3)
    still, moved = (WaNet(s=s)._warp_grid(shape, run)[0, 4:-4, 4:-4] for s in (1e-9, 0.5))
    along = ((moved - still).abs() * torch.tensor([96, 32]) / 2).mean((0, 1))
    assert 0.6 < along[0] / along[1] < 1.6


@pytest.mark.parametrize("name", DATA_POISONS)
@pytest.mark.parametrize("shape", [(64, 20, 3), (20, 64, 1)])
def test_images_need_not_be_square(name: str, shape: tuple[int, int, int], run: Run) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, *shape), np.uint8)
    triggered = quick("attacks", name).make_trigger(shape, run)(images)
    assert triggered.shape == images.shape and (triggered != images).any((1, 2, 3)).all()
