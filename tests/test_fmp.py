"""Adversarial feature map pruning: which images score a map, which maps go, and what is left."""

import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from workflow_scripts.common import spellings
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses.fmp import AnnealedRecipe, FeatureMapPruning
from workflow_scripts.networks import weights
from workflow_scripts.networks.hooks import count_passes
from workflow_scripts.networks.model import Architecture, Head, Model
from workflow_scripts.units import reversal as reversal_module
from workflow_scripts.units.reversal import Reversal, UnitResponses, evaluate_units, unit_outputs

Make = Callable[[], Model]
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
LONG: dict[str, Any] = {"epsilon": 40 / 255, "start": 20 / 255}


@pytest.fixture(scope="module")
def batch(digits: tuple[Images, Images]) -> Batch:
    """Seven images in [0, 1], their labels, and random signs."""
    images = torch.from_numpy(digits[0].images[:7]).permute(0, 3, 1, 2).float() / 255
    signs = torch.randint(2, images.shape, generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    return images, torch.from_numpy(digits[0].labels[:7]), signs


def drawn(model: Model, seed: int = 0) -> UnitResponses:
    """Accuracies and losses at random, as if of 10 images."""
    stream = torch.Generator().manual_seed(seed)
    sizes = {name: len(output[0]) for name, output in unit_outputs(model, torch.zeros(1, *shape(model))).items()}
    hits = {name: torch.randint(11, (size,), generator=stream).double() / 10 for name, size in sizes.items()}
    losses = {name: torch.rand(size, generator=stream).double() for name, size in sizes.items()}
    return UnitResponses(hits, losses, samples=10)


def exact(victim: Make) -> Model:
    """The victim, frozen and in float32."""
    model = victim().requires_grad_(False)
    model.recipe = dataclasses.replace(model.recipe, precision="fp32")
    return model


def shape(model: Model) -> tuple[int, int, int]:
    height, width, channels = model.format.shape
    return channels, height, width


def dead(model: Model, kind: type[nn.Conv2d] | type[nn.BatchNorm2d]) -> dict[str, list[int]]:
    """Of each such module the units whose weights are 0."""
    found = {name: module for name, module in model.network.named_modules() if isinstance(module, kind)}
    empty = {
        name: module.weight.detach().reshape(len(module.weight), -1).abs().amax(1) for name, module in found.items()
    }
    return {name: torch.nonzero(largest == 0).flatten().tolist() for name, largest in empty.items()}


def one_at_a_time(model: Model, batch: Batch, reversal: Reversal) -> dict[str, tuple[list[float], list[float]]]:
    """Hits and losses of each layer's first maps by the letter: for each its loss, gradient, images and answers."""
    images, labels, signs = batch
    clean, found = unit_outputs(model, images, reversal.summed), {}
    for name, expected in clean.items():
        hits, losses = [], []
        for unit in range(4):
            begun = reversal.random_start(images, signs).requires_grad_()
            moved = unit_outputs(model, begun, reversal.summed)[name]
            (gradient,) = torch.autograd.grad(F.mse_loss(moved[:, unit], expected[:, unit]), begun)
            given = [model(ended) for ended in reversal.perturb(images, begun.detach(), gradient.sign())]
            hits.append(min((logits.argmax(1) == labels).double().mean().item() for logits in given))
            losses.append(max(F.cross_entropy(logits, labels).item() for logits in given))
        found[name] = hits, losses
    return found


@pytest.mark.parametrize(
    "method, summed, at_once", [("fgsm", False, 4), ("fgsm", False, 21), ("pgd", False, 4), ("fgsm", True, 21)]
)
def test_many_maps_at_once_score_as_one_at_a_time(
    victim: Make, batch: Batch, method: str, summed: bool, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven images, in two chunks or together with three units in each pass."""
    reversal = Reversal(method, **LONG, summed=summed)  # type: ignore[arg-type]
    model = exact(victim)
    slow = one_at_a_time(model, batch, reversal)
    monkeypatch.setattr(reversal_module, "AT_ONCE", at_once)
    fast = evaluate_units(model, *batch, reversal)
    assert list(fast.hits) == list(fast.losses) == list(slow)
    for name, (hits, losses) in slow.items():
        assert fast.hits[name][:4].tolist() == pytest.approx(hits)
        assert fast.losses[name][:4].tolist() == pytest.approx(losses, rel=1e-3)
    assert len({value for hits, _ in slow.values() for value in hits}) > 1


def test_a_job_counts_the_passes_of_its_scores(victim: Make, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reversal_module, "AT_ONCE", len(batch[0]))  # a pass back for each map
    model, seen, passes = exact(victim), [], Counter[str]()
    count_passes(model.network, passes)
    model.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    found = evaluate_units(model, *batch, Reversal("pgd", **LONG))
    assert passes["forward"] == sum(seen)
    assert passes["backward"] == len(batch[0]) * sum(map(len, found.hits.values()))


@pytest.mark.parametrize("method, bound", [("fgsm", LONG["epsilon"] + LONG["start"]), ("pgd", LONG["epsilon"])])
def test_no_pixel_moves_too_far_or_out_of_range(batch: Batch, method: str, bound: float) -> None:
    images, _, signs = batch
    reversal = Reversal(method, **LONG)  # type: ignore[arg-type]
    begun = reversal.random_start(images, signs)
    for ended in reversal.perturb(images, begun, torch.randn(3, *images.shape).sign()):
        assert (ended - images).abs().max() <= bound + 1e-6
        assert ended.min() >= 0 and ended.max() <= 1 and not torch.equal(ended[0], images)


def test_a_reversed_image_displaces_its_map_more_than_another(victim: Make, batch: Batch) -> None:
    images, _, signs = batch
    model, reversal = exact(victim), Reversal("fgsm", **LONG)
    begun = reversal.random_start(images, signs).requires_grad_()
    clean, moved = unit_outputs(model, images)["layer2.0.conv1"], unit_outputs(model, begun)["layer2.0.conv1"]
    losses = ((moved - clean) ** 2).mean((0, 2, 3))
    ended = []
    for loss in losses[:4]:
        (gradient,) = torch.autograd.grad(loss, begun, retain_graph=True)
        ended += reversal.perturb(images, begun.detach(), gradient.sign())
    displaced = torch.stack(
        [((unit_outputs(model, x)["layer2.0.conv1"] - clean) ** 2).mean((0, 2, 3))[:4] for x in ended]
    )
    assert (displaced.argmax(0) == torch.arange(4)).all()
    assert (displaced.diagonal() > losses[:4]).all()


def test_the_loss_decides_between_equal_accuracies_only() -> None:
    hits, losses = torch.tensor([0.5, 0.4, 0.5, 0.4]).double(), torch.tensor([90.0, 0.1, 0.2, 3.0]).double()
    scores = UnitResponses({"conv": hits}, {"conv": losses}, samples=10).scores()["conv"]
    assert scores.argsort().tolist() == [3, 1, 0, 2]
    assert ((hits - scores) >= 0).all() and ((hits - scores) < 0.1).all()


@pytest.mark.parametrize("faithful", [False, True])
def test_75_maps_of_the_paper_s_network_go(faithful: bool, digits: tuple[Images, Images], run: Run) -> None:
    params = spellings.resolve("models", "preact_resnet18", {})
    model = weights.build("preact_resnet18", params, digits[0].format, run)
    FeatureMapPruning(faithful=faithful).prune(model, drawn(model), run)
    pruned = [(row["layer"], row["unit"]) for row in run.rows if row["pruned"]]
    convolutions = dead(model, nn.Conv2d)
    assert sorted(pruned) == sorted((name, unit) for name, units in convolutions.items() for unit in units)
    assert len(pruned) == 75 and len(run.rows) == 4800 and run.notes["pruned_share"] == 75 / 4800
    assert {row["layer"] for row in run.rows} == set(convolutions)


def test_the_lowest_of_each_layer_go(untrained: Make, run: Run) -> None:
    model = untrained()
    judged = drawn(model)
    FeatureMapPruning(p=4).prune(model, judged, run)
    for name, scores in judged.scores().items():
        units = dead(model, nn.Conv2d)[name]
        assert len(units) == len(scores) // 4
        assert scores[units].max() <= scores[[unit for unit in range(len(scores)) if unit not in units]].min()


def test_gamma_goes_only_where_the_map_is_seen_alone(untrained: Make, run: Run) -> None:
    model = untrained()
    FeatureMapPruning(p=2).prune(model, drawn(model), run)
    maps, gammas = dead(model, nn.Conv2d), dead(model, nn.BatchNorm2d)
    assert gammas["layer2.0.bn2"] == maps["layer2.0.conv1"] != []
    assert gammas["layer1.0.bn1"] == maps["conv1"] != []
    assert gammas["layer2.0.bn1"] == gammas["layer3.0.bn1"] == gammas["bn"] == []  # sums of two convolutions


def test_faithful_prunes_in_the_order_of_the_modules_what_it_scored_in_that_of_execution(
    untrained: Make, run: Run
) -> None:
    model = untrained()
    judged = drawn(model)
    method = FeatureMapPruning(p=2, faithful=True)
    method.prune(model, judged, run)
    lowest = {name: sorted(method.lowest_units(hits)) for name, hits in judged.hits.items()}
    maps, gammas = dead(model, nn.Conv2d), dead(model, nn.BatchNorm2d)
    assert maps["layer1.0.conv2"] == lowest["layer1.0.conv2"]  # a block without a shortcut: both orders agree
    scored, pruned = ["shortcut.0", "conv1", "conv2"], ["conv1", "conv2", "shortcut.0"]
    for here, there in zip(pruned, scored, strict=True):
        assert maps[f"layer2.0.{here}"] == lowest[f"layer2.0.{there}"]
    assert gammas["layer3.0.bn1"] == maps["layer2.0.shortcut.0"]
    assert gammas["layer3.0.bn2"] == maps["layer3.0.conv1"]


def test_faithful_takes_the_sum_for_a_block_s_last_map(victim: Make, batch: Batch) -> None:
    alone, summed = (unit_outputs(exact(victim), batch[0], flag) for flag in (False, True))
    assert list(alone) == list(summed)
    total = alone["layer2.0.conv2"] + alone["layer2.0.shortcut.0"]
    assert torch.equal(summed["layer2.0.conv2"], total) and torch.equal(summed["conv1"], alone["conv1"])


def test_faithful_normalizes_twice(victim: Make, digits: tuple[Images, Images], run: Run) -> None:
    model = victim()
    once, _ = FeatureMapPruning().sample(model, digits[0], run)
    twice, labels = FeatureMapPruning(faithful=True).sample(model, digits[0], run)
    assert once.shape[0] == len(digits[0]) and once.min() >= 0 and once.max() <= 1
    assert twice.shape[0] == len(labels) == 32 and twice.min() < 0 and twice.max() > 1


def test_pruning_nothing_is_fine_tuning(victim: Make, digits: tuple[Images, Images]) -> None:
    pruned, tuned = victim(), victim()
    method = FeatureMapPruning(p=10**9, epochs=2, samples=4)
    run = Run("digits", 0)
    method(victim=pruned, holdout=digits[0][:80], run=run)
    method.fine_tune(tuned, digits[0][:80], Run("digits", 0))
    assert run.notes["pruned_share"] == 0
    for key, value in pruned.network.state_dict().items():
        assert torch.equal(value, tuned.network.state_dict()[key]), key


def test_the_learning_rate_ends_at_1e_4() -> None:
    recipe = AnnealedRecipe(epochs=10, lr=0.01, schedule="cosine")
    rates = [recipe.lr_at(epoch, epoch / 10) for epoch in (0, 5, 10)]
    assert rates == pytest.approx([0.01, (0.01 + 1e-4) / 2, 1e-4])


@dataclass(frozen=True)
class Perceptron(Architecture):
    """Two hidden layers."""

    def build(self, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
        hidden = [nn.Flatten(), nn.Linear(256 * channels, 6), nn.ReLU(), nn.Linear(6, 8), nn.ReLU()]
        return nn.Sequential(*hidden, Head(8, classes))


def test_hidden_neurons_are_maps(digits: tuple[Images, Images], run: Run) -> None:
    model = Model("perceptron", Perceptron(crop=0, flip=False), digits[0].format)
    images = digits[0][:32]
    FeatureMapPruning(p=4, epochs=0).__call__(victim=model, holdout=images, run=run)
    hidden = list(model.units().values())
    assert [len(module.weight) for module in hidden] == [6, 8]  # type: ignore[arg-type]
    for name, module, count in zip(("1", "3"), hidden, (1, 2), strict=True):
        gone = [row["unit"] for row in run.rows if row["layer"] == name and row["pruned"]]
        assert len(gone) == count
        assert all((parameter[gone] == 0).all() for parameter in module.parameters())


def test_the_defaults_are_the_paper_s() -> None:
    fields = {field.name: field.default for field in dataclasses.fields(FeatureMapPruning)}
    assert {key: fields[key] for key in ("holdout_size", "p", "epochs", "lr", "batch_size")} == {
        "holdout_size": 0.1,
        "p": 64,
        "epochs": 10,
        "lr": 0.01,
        "batch_size": 256,
    }
