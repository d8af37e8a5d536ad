"""Networks and the loop: against references, and equal to themselves."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from workflow_scripts.common import spellings
from workflow_scripts.common.images import ImageFormat, Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks import weights
from workflow_scripts.networks.model import Model
from workflow_scripts.networks.recipe import Recipe
from workflow_scripts.techniques.contrastive import Contrastive, make_two_views
from workflow_scripts.training.augmentation import augment_whole_batch, crop_and_flip
from workflow_scripts.training.inference import accuracy, iterate_batches, logits
from workflow_scripts.training.loader import Loader, Resident
from workflow_scripts.training.loop import train
from workflow_scripts.training.optimizers import SGD
from workflow_scripts.units.layers import unit_layers

CIFAR = ImageFormat((32, 32, 3), tuple("0123456789"), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def test_preact_resnet18_is_the_fields_network(run: Run) -> None:
    model = weights.build("preact_resnet18", spellings.resolve("models", "preact_resnet18"), CIFAR, run)
    kinds = [type(module).__name__ for module in model.network.modules()]
    assert (kinds.count("Conv2d"), kinds.count("BatchNorm2d")) == (20, 16)
    state = model.network.state_dict()
    assert {"conv1.weight", "layer1.0.bn1.running_mean", "layer2.0.shortcut.0.weight", "linear.bias"} <= state.keys()
    stages = 4 * 64 + (64 + 3 * 128) + (128 + 3 * 256) + (256 + 3 * 512)
    assert sum(len(layer) for layer in unit_layers(model) if layer.norm is not None) == stages


@pytest.mark.parametrize("last_norm", [False, True])
@pytest.mark.parametrize("stem", ["small", "large"])
def test_every_shape_of_the_network_answers(last_norm: bool, stem: str, run: Run) -> None:
    params = spellings.resolve("models", f"preact_small+stem~{stem}+last_norm~{str(last_norm).lower()}")
    model = weights.build("preact_small", params, CIFAR, run)
    answers = model(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    assert answers.shape == (2, 10) and answers.dtype == torch.float32
    assert hasattr(model.network, "bn") == last_norm
    assert bool([x for x in unit_layers(model) if x.norm is None]) != last_norm


def test_uint8_and_unit_floats_are_the_same_images(
    untrained: Callable[[], Model], digits: tuple[Images, Images]
) -> None:
    model = untrained().eval()
    images = torch.from_numpy(digits[1].images[:8]).permute(0, 3, 1, 2)
    assert torch.equal(model(images), model(images.float() / 255))


@pytest.mark.parametrize("recipe", [Recipe(), Recipe(nesterov=True), Recipe(momentum=0.0), Recipe(weight_decay=0.0)])
def test_sgd_is_torch_optim_bit_by_bit(recipe: Recipe) -> None:
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(5, 3, generator=generator), torch.randn(4, generator=generator)]
    ours, theirs = ([torch.nn.Parameter(p.clone()) for p in start] for _ in range(2))
    mine = SGD(ours, recipe)
    reference = torch.optim.SGD(
        theirs,
        lr=1.0,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
        fused=True,
    )
    for lr in (0.1, 0.03, 0.2):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        mine.step(lr)
        reference.param_groups[0]["lr"] = lr
        reference.step()
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_schedules_by_hand() -> None:
    cosine = Recipe(epochs=4, lr=1.0)
    assert [round(cosine.lr_at(e, e / 4), 4) for e in range(4)] == [1.0, 0.8536, 0.5, 0.1464]
    step = replace(cosine, epochs=6, schedule="step")
    assert [step.lr_at(e, e / 6) for e in range(6)] == [1, 1, 1, 1, 0.1, 0.1]
    cycle = replace(cosine, schedule="one_cycle")
    assert [round(cycle.lr_at(0, f), 4) for f in (0, 0.125, 0.25, 0.625, 1.0)] == [0.04, 0.52, 1.0, 0.5, 0.0]
    assert replace(cosine, schedule="constant").lr_at(3, 0.99) == 1.0


def test_crops_and_flips_are_those_of_a_slow_reference() -> None:
    images = torch.arange(2 * 4 * 4 * 1, dtype=torch.uint8).reshape(2, 4, 4, 1)
    fast = crop_and_flip(Recipe(crop=1, flip=True))(images, torch.Generator().manual_seed(2))
    stream = torch.Generator().manual_seed(2)
    down, right = torch.randint(3, (2, 2, 1), generator=stream)
    mirrored = torch.randint(2, (2, 1), generator=stream)
    assert mirrored.sum() == 1, "the seed shows both"
    for i, image in enumerate(images.numpy()):
        padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
        cropped = padded[down[i] : down[i] + 4, right[i] : right[i] + 4]
        assert np.array_equal(fast[i].numpy(), cropped[:, ::-1] if mirrored[i] else cropped)


def test_an_epoch_sees_every_image_once_but_for_a_small_last_batch(digits: tuple[Images, Images]) -> None:
    resident = Resident(digits[0][:50], torch.device("cpu"))
    for size, lengths in ((16, [16, 16, 16]), (20, [20, 20, 10]), (21, [21, 21]), (64, [50]), (200, [50])):
        batches = list(resident.positions(size, torch.Generator().manual_seed(0)))
        assert [len(b) for b in batches] == lengths and resident.batch_count(size) == len(lengths)
        assert len(set(torch.cat(batches).tolist())) == sum(lengths)


def test_training_learns_and_repeats(untrained: Callable[[], Model], digits: tuple[Images, Images]) -> None:
    models, runs = (untrained(), untrained()), (Run("digits", 0), Run("digits", 0))
    for model, run in zip(models, runs, strict=True):
        train(model, digits[0], model.recipe, run)
    assert accuracy(models[0], digits[1]) > 0.7
    states = [model.network.state_dict() for model in models]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0]) and runs[0].rows == runs[1].rows
    assert [row["epoch"] for row in runs[0].rows] == [0, 1, 2, 3]


class Waits(TorchDispatchMode):
    """Counts what makes the host wait for a GPU: numbers asked for, and sizes that hang on values."""

    WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "unique")

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += any(name in func.name() for name in self.WAITING)
        return func(*args, **(kwargs or {}))


class Copies(TorchFunctionMode):
    """Counts what may copy between the host and a device, by name: on a CPU it is seen only as it is called."""

    COPYING = ("to", "cpu", "cuda", "numpy", "tensor", "new_tensor", "as_tensor")

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counter[str]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[getattr(func, "__name__", "")] += 1
        return func(*args, **(kwargs or {}))

    @property
    def total(self) -> int:
        return sum(self.counts[name] for name in self.COPYING)


@pytest.mark.parametrize("whole", [False, True])
def test_within_an_epoch_nothing_waits_for_a_gpu(
    whole: bool, untrained: Callable[[], Model], digits: tuple[Images, Images], run: Run
) -> None:
    """What is asked and sent is as much for twice the batches, but for a color, which is sent without waiting."""
    found = []
    for count in (96, 192):
        model = untrained()
        recipe = replace(model.recipe, epochs=1, crop=2, flip=True)
        augment = augment_whole_batch(torch.tensor([77.0]), flip=True) if whole else None
        with Waits() as waits, Copies() as copies:
            train(model, digits[0][:count], recipe, run, augment=augment)
        found.append((waits.count, copies.total - whole * count // recipe.batch_size))
    assert found[0] == found[1] and sum(found[0]) > 0


@pytest.mark.parametrize("made", ["cropped", "whole", "viewed"])
def test_a_gpus_batches_are_made_there(
    made: str, digits: tuple[Images, Images], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a device that has no values, so that whatever asks for one, or mixes devices, fails."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    augment = {
        "cropped": crop_and_flip(Recipe()),
        "whole": augment_whole_batch(torch.tensor([77.0]), flip=True),
        "viewed": make_two_views(Contrastive()),
    }[made]
    streams = [run.torch_rng(name) for name in ("order", "shifts")]
    with FakeTensorMode(allow_non_fake_inputs=True):
        resident = Resident(digits[0], torch.device("cuda", 0))
        batches = list(Loader(resident, 128, streams[0], augment, streams[1]))
    assert len(batches) == 3 and all(batch.images.is_cuda and batch.labels.is_cuda for batch in batches)
    assert all(batch.positions.device.type == "cpu" for batch in batches), "attacks ask how many of them are theirs"


def test_evaluation_fetches_its_answers_once(untrained: Callable[[], Model], digits: tuple[Images, Images]) -> None:
    with Waits() as waits, Copies() as copies:
        logits(untrained(), digits[0].images[:100], 25)
    assert waits.count == 0 and copies.counts["cpu"] == 1


def test_seeds_start_elsewhere(digits: tuple[Images, Images]) -> None:
    params = spellings.resolve("models", "preact_small")
    first, other = (weights.build("preact_small", params, digits[0].format, Run("digits", s)) for s in (0, 1))
    assert not torch.equal(first.network.conv1.weight, other.network.conv1.weight)  # type: ignore[union-attr, arg-type]


def test_streams_are_named(run: Run) -> None:
    draws = {purpose: run.numpy_rng(purpose).integers(1 << 30) for purpose in ("selection", "holdout")}
    assert draws["selection"] == run.numpy_rng("selection").integers(1 << 30) != draws["holdout"]
    assert draws["selection"] != Run("cifar10", 0).numpy_rng("selection").integers(1 << 30)


def test_divergence_is_a_result(untrained: Callable[[], Model], digits: tuple[Images, Images], run: Run) -> None:
    model = untrained()
    train(model, digits[0], model.recipe, run, loss=lambda logits, labels: logits.sum() * float("inf"))
    assert run.notes["diverged"] == "the loss of training is not finite in epoch 0" and len(run.rows) == 1
    assert accuracy(model, digits[1]) == 0.0  # no class at all, not class 0


def test_steps_import_neither_torchvision_nor_the_compiler() -> None:
    """Each costs a second in every job."""
    code = (
        "import sys; from workflow_scripts.jobs import job, readers; from workflow_scripts.networks import weights;"
        "import workflow_scripts.training.loop;"
        "from workflow_scripts.defenses import abl, anp, clp, fp, ft, plain;"
        "print([m for m in ('torchvision', 'torch._dynamo', 'sklearn', 'pandas', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("side", "most"), [(16, 500), (64, 500), (128, 125), (224, 40)])
def test_large_images_are_asked_about_in_smaller_batches(side: int, most: int, untrained: Callable[[], Model]) -> None:
    """As much memory at 224 pixels as at 64; all images, in their order."""
    images = np.broadcast_to(np.arange(501, dtype=np.uint16)[:, None, None, None] % 256, (501, side, side, 1))
    batches = list(iterate_batches(untrained(), images.astype(np.uint8)))
    assert max(map(len, batches)) == most and sum(map(len, batches)) == 501
    assert torch.cat([batch[:, 0, 0, 0] for batch in batches]).tolist() == [n % 256 for n in range(501)]
