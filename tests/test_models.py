"""The battery over every model of the catalog and over networks of other libraries: what looks inside asks no more."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from conftest import SMALL, Hand, poisoned, secret
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from workflow_scripts.common import catalog
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import ImageFormat, Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses.clp import lipschitz_bounds
from workflow_scripts.networks import weights
from workflow_scripts.networks.architecture import Architecture
from workflow_scripts.networks.hooks import watch
from workflow_scripts.networks.inside import find_stage, stage_activations
from workflow_scripts.networks.model import Extractor, Model
from workflow_scripts.training.inference import iterate_batches, logits
from workflow_scripts.training.loop import train as fit
from workflow_scripts.units.layers import unit_layers
from workflow_scripts.units.reversal import unit_outputs
from workflow_scripts.units.tac import FEATURES, trigger_activated_change
from workflow_scripts.wrappers.spectral_filter import Filtered

MODELS = catalog.list_methods("models")
TORCHVISION = (
    "resnet18",
    "vgg11_bn",
    "mobilenet_v2",
    "densenet121",
    "shufflenet_v2_x0_5",
    "efficientnet_b0",
    "googlenet",
    "vit",
)
RGB = ImageFormat((32, 32, 3), tuple("0123456789"), (0.5,) * 3, (0.25,) * 3)
Build = Callable[[int, int, tuple[int, int]], nn.Module]


@dataclass(frozen=True, kw_only=True)
class Given(Architecture):
    """A network that a test builds."""

    make: Build

    def build(self, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
        return self.make(channels, classes, size)


def from_torchvision(name: str, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
    """A network of torchvision by its name; `vit` is a small one of no name."""
    if name == "vit":
        return torchvision.models.VisionTransformer(*size[:1], 8, 2, 2, 32, 64, num_classes=classes)
    options = {"googlenet": {"aux_logits": False, "init_weights": False}}.get(name, {})
    made: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=classes, **options)
    return made


def made(build: Build | str, form: ImageFormat = RGB, recipe: Mapping[str, Any] | None = None) -> Model:
    """A model of this network, or of torchvision's of this name, the same each time."""
    make = partial(from_torchvision, build) if isinstance(build, str) else build
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Model("given", Given(make=make, **(recipe or {})), form).eval()


def small(name: str) -> Model:
    """A model of the catalog, small where its fields say how large it is."""
    described = catalog.describe("models", name)
    sizes = {key: value for key, value in {"width": 8, "size": 32}.items() if key in described.fields}
    below = Extractor(small("preact_small")) if "auxiliaries" in described.named.values() else None
    return weights.build(name, catalog.resolve("models", name) | sizes, RGB, Run("digits", 0), below).eval()


def batch_norms(model: Model) -> dict[str, nn.BatchNorm2d]:
    return {name: module for name, module in model.network.named_modules() if isinstance(module, nn.BatchNorm2d)}


def stretch(norm: nn.BatchNorm2d) -> torch.Tensor:
    """By how much a normalization stretches each channel."""
    assert norm.running_var is not None
    return norm.weight.detach().abs() / (norm.running_var + norm.eps).sqrt()


@pytest.fixture(scope="module")
def noise() -> Images:
    rng = np.random.default_rng(0)
    return Images(rng.integers(0, 256, (12, 32, 32, 3), np.uint8), np.arange(12) % 10, np.arange(12), RGB)


@pytest.fixture(scope="module", params=[*MODELS, *TORCHVISION])
def model(request: pytest.FixtureRequest, noise: Images) -> Model:
    """An untrained model whose normalizations stretch what they have seen of the images: signals arrive everywhere."""
    model = small(request.param) if request.param in MODELS else made(request.param)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        for norm in batch_norms(model).values():
            norm.momentum = 1.0
            nn.init.uniform_(norm.weight, 0.5, 1.5)
        model.train()(next(iterate_batches(model, noise.images)))
    return model.eval()


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_the_parameters_that_its_file_states(name: str, run: Run) -> None:
    below: Any = SimpleNamespace(width=512) if catalog.describe("models", name).asks else None
    model = weights.build(name, catalog.resolve("models", name), RGB, run, below)
    count = sum(parameter.numel() for parameter in model.network.parameters())
    stated = vars(type(model.architecture)).get("parameters")
    assert stated == count, f"state `parameters = {count:_}` in the class of {catalog.source_file('models', name)}"


def test_every_unit_shows_its_outputs_and_changes_with_the_trigger(model: Model, noise: Images) -> None:
    fired: list[str] = []
    with watch(model.units(), lambda name, inputs, outputs: fired.append(name)):
        logits(model, noise.images)
    assert set(fired) == set(model.units()) and model.classifier_name not in fired
    change = trigger_activated_change(model, noise, secret(noise))
    assert set(change) == {*model.units(), *batch_norms(model), FEATURES}
    for name, module in model.units().items():
        assert change[name].shape == (len(module.weight),)  # type: ignore[arg-type]
        assert torch.isfinite(change[name]).all() and change[name].max() > 0, name


def test_every_unit_is_in_a_layer_with_a_bound(model: Model) -> None:
    found = unit_layers(model)
    sources = [source for layer in found if layer.norm is not None for source in layer.sources]
    plain = [layer.sources[0] for layer in found if layer.norm is None]
    assert {*sources, *plain} == set(model.units().values())
    assert len(plain) == len(set(plain)) and not {*plain} & {*sources}
    assert sorted(layer.name for layer in found if layer.norm is not None) == sorted(batch_norms(model))
    for layer in found:
        bounds = lipschitz_bounds(layer)
        assert bounds.shape == (len(layer),) and torch.isfinite(bounds).all()
        assert len(layer) == (layer.norm.num_features if layer.norm is not None else len(layer.sources[0].weight))


def test_nothing_but_its_sources_arrives_at_a_channel(model: Model, noise: Images) -> None:
    """Without one unit of all of a segment's sources, its channel before the normalization is the same for all images:
    there every source has its place, and none is missing."""
    silent = copy.deepcopy(model)
    places: dict[str, list[int]] = {}
    with torch.no_grad():
        for layer in (layer for layer in unit_layers(silent) if layer.norm is not None):
            for segment in (segment for segment in layer.segments if segment.sources):
                places.setdefault(layer.name, []).append(segment.start + segment.count // 2)
                for source in segment.sources:
                    for parameter in source.module.parameters():
                        parameter[segment.count // 2] = 0
    for asked, varies in ((model, True), (silent, False)):
        spread: dict[str, torch.Tensor] = {}

        def keep(name: str, inputs: torch.Tensor, outputs: torch.Tensor, spread: dict[str, Any] = spread) -> None:
            spread[name] = (inputs - inputs[:1]).abs().amax((0, 2, 3))

        with watch({name: asked.network.get_submodule(name) for name in places}, keep):
            logits(asked, noise.images)
        for name, channels in places.items():
            assert ((spread[name][channels] > 0) == varies).all(), name


def test_concatenated_channels_are_bounded_by_their_own_convolutions() -> None:
    model = made("densenet121")
    generator = torch.Generator().manual_seed(0)
    for norm in batch_norms(model).values():
        for values in (norm.weight.data, norm.running_var):
            assert values is not None
            values.copy_(0.5 + torch.rand(values.shape, generator=generator))
    found = {layer.name: layer for layer in unit_layers(model)}
    for name, norm in batch_norms(model).items():
        assert all(segment.sources for segment in found[name].segments) and len(found[name]) == norm.num_features
    layer = found["features.denseblock1.denselayer3.norm1"]
    assert [(segment.start, segment.count) for segment in layer.segments] == [(0, 64), (64, 32), (96, 32)]
    bounds, modules = lipschitz_bounds(layer), dict(model.network.named_modules())
    stem = modules["features.conv0"].weight[5].flatten(1) * stretch(batch_norms(model)["features.norm0"])[5]  # type: ignore
    second = modules["features.denseblock1.denselayer2.conv2"].weight[7].flatten(1)  # type: ignore
    assert layer.norm is not None
    for channel, kernel in ((5, stem), (96 + 7, second)):
        expected = torch.linalg.matrix_norm(kernel, 2) * stretch(layer.norm)[channel]
        assert torch.allclose(bounds[channel], expected, rtol=1e-4)


def test_normalizations_that_a_library_derives_are_followed() -> None:
    model = made(lambda channels, classes, size: timm.create_model("mobilenetv3_small_050", num_classes=classes))
    found = {layer.name: layer for layer in unit_layers(model)}
    assert all(type(norm) is not nn.BatchNorm2d and found[name].sources for name, norm in batch_norms(model).items())


class Mixed(nn.Module):
    """Two convolutions `a` and `b`, what a test makes of their outputs, and a normalization of that."""

    def __init__(self, mix: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], channels: int, classes: int):
        super().__init__()
        self.mix, self.a, self.b = mix, nn.Conv2d(3, 4, (1, 3), padding=(0, 1)), nn.Conv2d(3, 4, 3, padding=1)
        width = mix(torch.zeros(1, 4, 8, 8), torch.zeros(1, 4, 8, 8)).shape[1]
        self.norm, self.linear = nn.BatchNorm2d(width), nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.norm(self.mix(self.a(x), self.b(x))).mean((2, 3)))


@pytest.mark.parametrize(
    ("mix", "expected"),
    [
        (lambda a, b: a + b, ["ab"]),
        (lambda a, b: torch.cat([a, b], 1), ["a", "b"]),
        (lambda a, b: torch.cat(tensors=[a + 1, b, a], dim=1), ["a", "b", "a"]),
        (lambda a, b: torch.cat([a.flip(1), b], 1), ["", "b"]),
        (lambda a, b: torch.cat([a, b + a.flip(1)], 1), ["a", ""]),
        (lambda a, b: torch.cat([a, b.sum(1, keepdim=True)], 1), ["a", ""]),
        (lambda a, b: torch.cat([a.flip(1), b.flip(1)], 1), [""]),
        (lambda a, b: torch.cat([a, b], 1).unflatten(1, (2, 4)).transpose(1, 2).flatten(1, 2), [""]),
        (lambda a, b: torch.cat(a.chunk(2, 1), 1) * b, [""]),
        (lambda a, b: torch.cat([a, b], 2), [""]),
    ],
    ids=["sum", "cat", "by name", "flip", "part of a sum", "one channel", "flips", "shuffle", "product", "in space"],
)
def test_channels_of_unknown_sources_are_judged_by_their_normalization(
    mix: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], expected: list[str], run: Run
) -> None:
    model = made(lambda channels, classes, size: Mixed(mix, channels, classes))
    names = {module: name for name, module in model.network.named_modules()}
    layer, *plain = unit_layers(model)
    segments = ["".join(names[source.module] for source in segment.sources) for segment in layer.segments]
    assert segments == expected and layer.norm is not None and len(layer) == layer.norm.num_features
    assert [layer.name for layer in plain] == [name for name in "ab" if name not in "".join(expected)]
    bounds = lipschitz_bounds(layer)
    for segment in (segment for segment in layer.segments if not segment.sources):
        own = slice(segment.start, segment.start + segment.count)
        assert torch.equal(bounds[own], stretch(layer.norm)[own])
    catalog.make("defenses", "clp", {"u": 0.0})(victim=model, run=run)
    assert len(run.rows) == sum(map(len, (layer, *plain)))


def test_fmp_prunes_behind_a_concatenation_too(hand: Hand, noise: Images, run: Run) -> None:
    model = made(lambda channels, classes, size: Mixed(lambda a, b: torch.cat([a, b], 1), channels, classes))
    method = catalog.make("defenses", "fmp", {"samples": 8, "p": 2, "epochs": 0})
    method(**hand("defenses", "fmp", victim=model, holdout=noise, run=run))
    pruned = [row["unit"] + 4 * (row["layer"] == "b") for row in run.rows if row["pruned"]]
    (norm,) = batch_norms(model).values()
    assert len(pruned) == 4 and pruned == torch.nonzero(norm.weight == 0).flatten().tolist()


def test_what_is_kept_of_a_unit_is_what_it_gave(noise: Images) -> None:
    """Also where the next module works in place, as torchvision's do."""
    model = made(lambda *_: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(3600, 10)))
    kept = unit_outputs(model, next(iterate_batches(model, noise.images)))["0"]
    assert (kept < 0).any()


@pytest.fixture(scope="module")
def vit(digits: tuple[Images, Images]) -> Callable[[], Model]:
    """Makes copies of a small transformer of timm, trained on BadNets-poisoned digits."""

    def build(channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
        return VisionTransformer(size, 4, channels, classes, embed_dim=32, depth=2, num_heads=2)

    model = made(build, digits[0].format, SMALL)
    fit(model, poisoned(digits[0]), model.recipe, Run("digits", 0))
    return lambda: copy.deepcopy(model)


def test_neurons_of_a_transformer_are_no_tokens(vit: Callable[[], Model], digits: tuple[Images, Images]) -> None:
    model = vit()
    outputs = unit_outputs(model, next(iterate_batches(model, digits[1].images[:3])))
    tokens = 1 + 4 * 4
    assert outputs["patch_embed.proj"].shape == (3, 32, 4, 4)
    block = {"attn.qkv": 96, "attn.proj": 32, "mlp.fc1": 128, "mlp.fc2": 32}
    assert all(outputs[f"blocks.1.{name}"].shape == (3, units, tokens) for name, units in block.items())
    change = trigger_activated_change(model, digits[1], secret(digits[1]))
    assert all(len(change[f"blocks.1.{name}"]) == units for name, units in block.items())
    assert all((change[f"blocks.{number}.attn.qkv"] > 0).all() for number in (0, 1))
    assert list(model.architecture.stages(model.network)) == ["blocks.0", "blocks.1"]


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("tsbd", {"unlearn_epochs": 2, "n": 0.3, "finetune": "none"}),
        ("fmp", {"samples": 16, "p": 8, "epochs": 0}),
        ("anp", {"steps": 10, "lr": 20.0, "max_drop": 1.0, "batch_size": 32}),
        ("clp", {"u": 1.0}),
        ("random_pruning", {"share": 0.1}),
    ],
)
def test_a_transformer_is_pruned_as_logged(
    name: str, fields: dict[str, Any], vit: Callable[[], Model], hand: Hand, digits: tuple[Images, Images], run: Run
) -> None:
    defended = catalog.make("defenses", name, fields)(**hand("defenses", name, victim=vit(), run=run))
    rows = [row for row in run.rows if row["kind"] == "unit"]
    scored = dict(vit().units())
    if name == "anp":  # no convolution that nothing normalizes
        del scored["patch_embed.proj"]
    places = [(layer, unit) for layer, module in scored.items() for unit in range(len(module.weight))]  # type: ignore
    assert [(row["layer"], row["unit"]) for row in rows] == places and any(row["pruned"] for row in rows)
    for row in rows:
        zero = defended.network.get_submodule(row["layer"]).weight[row["unit"]] == 0
        assert bool(zero.any() if name == "tsbd" else zero.all()) == row["pruned"]
    assert torch.isfinite(logits(defended, digits[1].images)).all()


def test_a_plain_network_answers_in_float32_and_is_fine_pruned(hand: Hand, noise: Images, run: Run) -> None:
    model = made("resnet18", recipe={"precision": "bf16"})
    answers = logits(model, noise.images)
    assert not torch.equal(answers, answers.bfloat16().float())
    method = catalog.make("defenses", "fp", {"epochs": 0, "max_drop": 1.0})
    defended = method(**hand("defenses", "fp", victim=model, holdout=noise, run=run))
    pruned = [row["unit"] for row in run.rows if row["kind"] == "unit" and row["pruned"]]
    assert pruned and not defended.classifier.weight[:, pruned].any()


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("resnet18", ["layer1", "layer2", "layer3", "layer4"]),
        ("densenet121", [f"features.denseblock{number}" for number in (1, 2, 3, 4)]),
        ("vgg11_bn", [f"features.{number}" for number in (3, 7, 14, 21, 28)]),
        ("vit", ["encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1"]),
    ],
)
def test_stages_keep_their_names_when_one_is_filtered(name: str, stages: list[str], noise: Images) -> None:
    model = made(name)
    assert [find_stage(model, number) for number in range(1, len(stages) + 1)] == stages
    with pytest.raises(UserError, match=f"the stages of given: .*{len(stages)}$"):
        find_stage(model, len(stages) + 1)
    images = next(iterate_batches(model, noise.images))
    before = stage_activations(model, stages[1], images)
    model.wrap(Filtered(stage=2, k=2, norm="never"))
    assert list(model.architecture.stages(model.network)) == stages
    after = stage_activations(model, stages[1], images)
    assert before.shape == after.shape and not torch.allclose(before, after)
    assert torch.isfinite(logits(model, noise.images)).all()


class Branching(nn.Module):
    """Its forward branches on values."""

    def __init__(self, classes: int):
        super().__init__()
        self.conv, self.norm, self.linear = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.conv(x))
        return self.linear(x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3)))


def flat(channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
    """Nothing but a classifier of pixels."""
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size[0] * size[1], classes))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (partial(from_torchvision, "squeezenet1_0"), "has no linear layer"),
        (lambda channels, classes, size: flat(channels, 7, size), "gives 7 values and there are 10 classes"),
        (lambda *_: from_torchvision("vit", 3, 10, (64, 64)), "cannot take images of 32x32 pixels and 3 channels"),
        (lambda *given: nn.Sequential(flat(*given), nn.Unflatten(1, (2, 5))), r"of shape \(2, 2, 5\) for two images"),
    ],
)
def test_a_network_that_cannot_be_a_model_says_why(
    build: Build, reason: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "make", lambda *_: Given(make=build))
    with pytest.raises(UserError, match=reason) as error:
        weights.build("given", {}, RGB, run)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda channels, classes, size: Branching(classes), "torch.fx cannot follow its channels"),
        (flat, "has no units"),
    ],
)
def test_units_that_cannot_be_found_are_an_error(build: Build, reason: str) -> None:
    model = made(build)
    with pytest.raises(UserError, match=reason) as error:
        unit_layers(model)
    assert "\n" not in str(error.value)


def test_anp_says_that_there_is_nothing_to_mask(hand: Hand, noise: Images, run: Run) -> None:
    model = made(lambda *given: nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), flat(*given)))
    method = catalog.make("defenses", "anp", {"steps": 1})
    with pytest.raises(UserError, match="neither normalized channels nor hidden linear layers"):
        method(**hand("defenses", "anp", victim=model, holdout=noise, run=run))


def test_a_network_may_be_its_classifier(noise: Images) -> None:
    """As a linear probe of features is."""
    below = Extractor(small("preact_small"))
    model = Model("given", Given(make=lambda channels, classes, size: nn.Linear(channels, classes)), RGB, below)
    assert model.classifier is model.network and not model.units()
    assert logits(model, noise.images).shape == (12, 10)
