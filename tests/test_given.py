"""What others have poisoned: the same images and weights as they lie in a record, and what is said of a wrong one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from checkout import TINY, copy_of_checkout, planned, snakemake
from conftest import Hand
from PIL import Image
from safetensors.torch import save_file

from workflow_scripts.attacks import Poison, _records
from workflow_scripts.attacks._records import TEST, TRAIN, WEIGHTS
from workflow_scripts.attacks.badnets import BadNets
from workflow_scripts.attacks.given import Given
from workflow_scripts.attacks.given_victim import GivenVictim
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model

RATIO = 0.1
ATTACK = BadNets(side=3, target=2)


@pytest.fixture
def poison(digits: tuple[Images, Images], run: Run) -> Poison:
    """What BadNets publishes of the small digits."""
    return ATTACK(train=digits[0], ratio=RATIO, run=run)


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, poison: Poison, digits: tuple[Images, Images]) -> Path:
    """The folder of it, as BackdoorBench would write it: without the test images of the target's class."""
    test = digits[1]
    rows, _ = ATTACK.asr_subset(test.labels, 10)
    write(tmp_path / "mine" / TRAIN, poison.altered.images, poison.original_labels, poison.altered.index)
    write(tmp_path / "mine" / TEST, poison.trigger(test.images[rows]), test.labels[rows], rows)
    monkeypatch.setattr(_records, "RECORDS", tmp_path)
    return tmp_path / "mine"


def write(folder: Path, images: np.ndarray, labels: np.ndarray, places: np.ndarray) -> None:
    for pixels, label, place in zip(images, labels, places, strict=True):
        path = folder / str(label) / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.squeeze()).save(path)


def test_what_was_published_and_its_trigger_come_back(
    record: Path, poison: Poison, digits: tuple[Images, Images], run: Run
) -> None:
    train, test = digits
    given = Given(record="mine", target=2)
    found = given(train=train, ratio=RATIO, run=run)
    for wanted, read in zip(*(sort(one) for one in (poison, found)), strict=True):
        assert np.array_equal(wanted, read)
    published = [train.replace_rows(one.altered) for one in (poison, found)]
    assert np.array_equal(published[0].images, published[1].images), "in one order, so that victims are the same"
    rows, labels = given.asr_subset(test.labels, 10)
    assert all(map(np.array_equal, (rows, labels), ATTACK.asr_subset(test.labels, 10)))
    assert np.array_equal(found.trigger(test.images[rows]), poison.trigger(test.images[rows]))


def sort(poison: Poison) -> list[np.ndarray]:
    order = np.argsort(poison.altered.index)
    altered = poison.altered[order]
    return [altered.index, altered.labels, altered.images, poison.original_labels[order], poison.roles[order]]


def test_asr_is_of_the_test_images_that_are_there(record: Path, digits: tuple[Images, Images]) -> None:
    images = sorted((record / TEST).glob("*/*.png"))
    for path in images[10:]:
        path.unlink()
    rows, _ = Given(record="mine", target=2).asr_subset(digits[1].labels, 10)
    assert sorted(f"{digits[1].labels[row]}/{row}.png" for row in rows) == sorted(
        str(path.relative_to(record / TEST)) for path in images[:10]
    )


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder, path: path.rename(path.with_name("a.png")), r"a.png: it must be called CLASS/PLACE.png"),
        (lambda folder, path: path.rename(path.with_name("99999.png")), r"image 99999 of the data set is not there"),
        (lambda folder, path: path.rename(folder / "9" / path.name), r"is of class \d: it is another set, or in anoth"),
        (lambda folder, path: (folder / "9" / path.name).write_bytes(b""), r"is of the same place"),
        (lambda folder, path: path.write_bytes(b"none"), r"\d.png is no image"),
        (lambda folder, path: path.unlink(), r"the study says ratio 0.1; it must say 0\.0\d+"),
    ],
)
def test_a_wrong_record_is_said(
    record: Path, digits: tuple[Images, Images], run: Run, spoil: Callable[[Path, Path], object], message: str
) -> None:
    path = min(path for path in (record / TRAIN).glob("*/*.png") if path.parent.name != "9")
    spoil(record / TRAIN, path)
    with pytest.raises(UserError, match=message) as error:
        Given(record="mine", target=2)(train=digits[0], ratio=RATIO, run=run)
    assert "\n" not in str(error.value)


def test_the_weights_of_others_are_the_victim_s(
    record: Path, hand: Hand, untrained: Callable[[], Model], run: Run
) -> None:
    theirs, ours = untrained(), untrained()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.mul_(2)
    state = {key: value.contiguous() for key, value in theirs.network.state_dict().items()}
    save_file(state, record / WEIGHTS)
    attack = GivenVictim(record="mine", target=2)
    made = attack(**hand("attacks", "given_victim", model=ours, ratio=RATIO, run=run))
    assert all(torch.equal(value, state[key]) for key, value in made.victim.network.state_dict().items())
    save_file({key: value for key, value in state.items() if key != "conv1.weight"}, record / WEIGHTS)
    with pytest.raises(UserError, match="model.safetensors: .* not those of preact_small: conv1.weight is missing"):
        attack(**hand("attacks", "given_victim", model=ours, ratio=RATIO, run=run))


def test_a_record_is_asked_for_before_a_run(tmp_path: Path) -> None:
    folder = copy_of_checkout(tmp_path)
    grid = {**TINY["grid"], "attack": {"given_victim": {"record": "theirs"}}, "defense": ["none", "clp"]}
    (folder / "studies/tiny.yaml").write_text(yaml.safe_dump({**TINY, "grid": grid}))
    missing = "backstop: tiny: data/records/theirs/bd_train_dataset is not there; data/records holds: nothing; `python"
    assert missing in snakemake(folder, "-n", fails=True)
    for part in (TRAIN, TEST, WEIGHTS):
        (folder / "data/records/theirs" / part / "0").mkdir(parents=True)
    assert planned(folder)["implant"] == 1
