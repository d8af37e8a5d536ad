"""SSBA's encoder: its network at every size, its loss and its ramp, what it learns, what it writes."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Hand, tiny

from workflow_scripts.attacks.ssba import PIXELS, make_writer
from workflow_scripts.auxiliaries.stego_encoder import Budget, Lesson, StegoEncoder, measure
from workflow_scripts.common import catalog
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import ImageFormat, Images
from workflow_scripts.common.run import Run
from workflow_scripts.models.stego import Steganography
from workflow_scripts.networks import weights
from workflow_scripts.networks.model import Model
from workflow_scripts.training.loader import Batch

SHORT = StegoEncoder(steps=120, lr=0.002, batch_size=32, wait=5, ramp=20)


def network_of(model: Model) -> Steganography:
    assert isinstance(model.network, Steganography)
    return model.network


@pytest.fixture(scope="module")
def taught(digits: tuple[Images, Images]) -> tuple[Model, Run]:
    """A small network that has been taught to write four bits, and the run."""
    model, run = tiny("stego", digits[0].format, bits=4, width=8), Run("digits", 0)
    return SHORT(digits[0], model, run), run


@pytest.mark.parametrize(
    ("side", "channels", "output"),
    [(8, 1, "image"), (16, 1, "residual"), (20, 3, "image"), (32, 3, "residual"), (64, 1, "image"), (224, 3, "image")],
)
def test_messages_fit_images_of_any_size(side: int, channels: int, output: str) -> None:
    form = ImageFormat((side, side + 4, channels), tuple("0123456789"), (0.5,) * channels, (0.2,) * channels)
    network = network_of(tiny("stego", form, bits=5, width=4, output=output))
    images = np.random.default_rng(0).integers(0, 256, (2, *form.shape), np.uint8)
    written = make_writer(network, torch.tensor([1.0, 0, 0, 1, 1]))(images)
    assert written.shape == images.shape and written.dtype == np.uint8 and (written != images).any()
    with torch.no_grad():
        assert network(torch.from_numpy(written).permute(0, 3, 1, 2) / 255).shape == (2, 5)


def test_what_is_written_hangs_on_the_image_and_on_the_message(taught: tuple[Model, Run]) -> None:
    network = network_of(taught[0])
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    first, second = (make_writer(network, bits)(images).astype(int) for bits in torch.eye(2, 4))
    assert ((first - images)[0] != (first - images)[1]).any() and (first != second).any()


def test_an_image_is_written_alike_whatever_is_beside_it(taught: tuple[Model, Run]) -> None:
    network, count = network_of(taught[0]), PIXELS // 256 + 3
    images = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), np.uint8)
    write = make_writer(network, torch.ones(4))
    together, order = write(images), np.random.default_rng(1).permutation(count)
    assert np.array_equal(write(images[order]), together[order])
    assert np.array_equal(write(images[:1]), together[:1]) and len(write(images[:0])) == 0


def test_the_image_counts_once_messages_are_readable_and_after_a_wait() -> None:
    budget = Budget(wait=10, ramp=20, weight=5.0)
    assert budget.weigh(10_000, None) == 0
    asked = (40, 50, 51, 60, 70, 500)
    assert [budget.weigh(step, 40) for step in asked] == pytest.approx([0, 0, 0.25, 2.5, 5, 5])


def test_the_loss_is_the_bits_cross_entropy_and_the_weighted_squared_error(digits: tuple[Images, Images]) -> None:
    network = network_of(tiny("stego", digits[0].format, bits=6, width=4))
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    bits = torch.randint(2, (3, 6), generator=torch.Generator().manual_seed(1)).float()
    with torch.no_grad():
        error, doubt, right = measure(network, images, bits)
        written = network.encode(images, bits)
        chance = network(written).double().sigmoid()
    assert float(error) == pytest.approx(float(((written - images).double() ** 2).mean()), rel=1e-5)
    assert float(doubt) == pytest.approx(-float((chance * bits + (1 - chance) * (1 - bits)).log().mean()), rel=1e-5)
    assert torch.equal(right, ((chance > 0.5) == (bits == 1)).float())
    for read_at, weight in ((None, 0.0), (-30, 10.0)):
        lesson = Lesson(network, Budget(wait=10, ramp=20), Run("digits", 0))
        lesson.read_at = read_at
        _, loss = lesson(Batch((255 * images).byte(), torch.zeros(3).long(), torch.arange(3)))
        given = (255 * images).byte() / 255
        drawn = torch.randint(2, (3, 6), generator=Run("digits", 0).torch_rng("stego/messages")).float()
        error, doubt, _ = (part.detach() for part in measure(network, given, drawn))
        assert float(loss.detach()) == pytest.approx(float(doubt + weight * error), rel=1e-5)


def test_an_encoder_learns_to_write_and_then_to_hide(taught: tuple[Model, Run]) -> None:
    _, run = taught
    rows = [row for row in run.rows if row["kind"] == "messages"]
    assert rows[0]["bit_accuracy"] < 0.9 < rows[-1]["bit_accuracy"]
    at = run.notes["readable_step"]
    assert at > 0 and rows[-1]["step"] == SHORT.steps >= at + SHORT.wait + SHORT.ramp
    assert rows[-1]["image_weight"] == run.notes["image_weight"] == SHORT.weight
    before = [row["psnr"] for row in rows if row["step"] <= at + SHORT.wait]
    assert rows[-1]["psnr"] > max(before) + 3
    epochs = [row for row in run.rows if row["kind"] == "epoch"]
    assert epochs[-1]["accuracy"] > 0.5 and len(epochs) == len(rows)


def test_a_budget_that_does_not_reach_the_ramps_end_says_so(digits: tuple[Images, Images]) -> None:
    run = Run("digits", 0)
    replace(SHORT, steps=2)(digits[0], tiny("stego", digits[0].format), run)
    assert run.notes == {"readable_step": None, "image_weight": 0.0}


def test_the_same_seed_teaches_the_same(digits: tuple[Images, Images]) -> None:
    states = []
    for _ in range(2):
        model = replace(SHORT, steps=3)(digits[0], tiny("stego", digits[0].format), Run("digits", 0))
        states.append(model.network.state_dict())
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_writer_and_reader_are_kept_in_one_file(
    taught: tuple[Model, Run], digits: tuple[Images, Images], tmp_path: Path
) -> None:
    weights.save(tmp_path / "model.safetensors", taught[0], {})
    again = weights.load_frozen(tmp_path / "model.safetensors", torch.device("cpu"))
    message, images = torch.tensor([1.0, 0, 1, 1]), digits[1].images[:60]
    written = make_writer(network_of(again), message)(images)
    assert np.array_equal(written, make_writer(network_of(taught[0]), message)(images))
    with torch.no_grad():
        read = again(torch.from_numpy(written).permute(0, 3, 1, 2)) > 0
    assert (read == (message > 0)).float().mean() > 0.9
    assert 10 * math.log10(255**2 / np.square(written.astype(float) - images).mean()) > 10


def test_the_message_is_the_attackers(hand: Hand, digits: tuple[Images, Images]) -> None:
    attack = catalog.make("attacks", "ssba", {})
    made = [attack(**hand("attacks", "ssba", run=Run("digits", seed))) for seed in (0, 0, 1)]
    first, again, other = (poison.trigger(digits[1].images[:5]) for poison in made)
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_other_networks_are_refused(hand: Hand, digits: tuple[Images, Images], victim: Callable[[], Model]) -> None:
    with pytest.raises(UserError, match="preact_small writes no messages; choose stego"):
        SHORT(digits[0], victim(), Run("digits", 0))
    with pytest.raises(UserError, match="simclr writes no messages"):
        catalog.make("attacks", "ssba", {"stego_encoder": "simclr"})(**hand("attacks", "ssba", stego_encoder=victim()))
