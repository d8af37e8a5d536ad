"""The battery over every model of the catalog and over networks of other libraries: what looks inside asks no more."""

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from conftest import Hand, poisoned, secret, tiny
from torch import nn

from workflow_scripts.common import catalog, spellings
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import ImageFormat, Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses.clp import lipschitz_bounds
from workflow_scripts.networks import weights
from workflow_scripts.networks.architecture import Architecture
from workflow_scripts.networks.hooks import count_passes, watch
from workflow_scripts.networks.inside import black_images, find_stage, stage_activations
from workflow_scripts.networks.model import Extractor, Model
from workflow_scripts.training.inference import iterate_batches, logits
from workflow_scripts.training.loop import train as fit
from workflow_scripts.units.layers import unit_layers
from workflow_scripts.units.reversal import unit_outputs
from workflow_scripts.units.tac import FEATURES, trigger_activated_change
from workflow_scripts.wrappers.spectral_filter import Filtered

MODELS = catalog.list_methods("models")
CLASSIFIERS = [name for name in MODELS if catalog.describe("models", name).traits["classifies"]]
TORCHVISION = ("densenet121", "shufflenet_v2_x0_5", "efficientnet_b0", "googlenet", "vit")
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


def small(name: str, **fields: Any) -> Model:
    """A model of the catalog in its tiny form, but for these fields."""
    return tiny(name, RGB, **fields).eval()


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


@pytest.fixture(scope="module", params=[*CLASSIFIERS, *TORCHVISION])
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
def test_a_model_has_the_parameters_that_its_file_states(name: str) -> None:
    count = count_weights(name, 512 if catalog.describe("models", name).asks else 3)
    stated = vars(type(catalog.make("models", name, {}))).get("parameters")
    assert stated == count, f"state `parameters = {count:_}` in the class of {catalog.source_file('models', name)}"


def count_weights(spelling: str, channels: int = 3) -> int:
    """How many there are for ten classes of 32x32 pixels, or of that many features, without making them."""
    return sum(weight.numel() for weight in described(spelling, channels).parameters())


def described(spelling: str, channels: int = 3) -> nn.Module:
    """The network of a model at its full size, whose weights have shapes and no values."""
    architecture = catalog.make("models", spellings.method_name(spelling), spellings.resolve("models", spelling))
    with torch.device("meta"):
        network: nn.Module = architecture.build(channels, 10, (32, 32))
    return network


@pytest.mark.parametrize(
    ("spelling", "count"),
    [
        ("resnet18+stem~large", 11_181_642),
        ("vgg16_bn+hidden~0", 14_728_266),
        ("vgg19_bn+hidden~0", 20_040_522),
        ("timm+architecture~mobilenetv2_100", 2_236_682),
    ],
)
def test_other_forms_have_the_parameters_that_the_field_knows(spelling: str, count: int) -> None:
    """torchvision's ResNet-18 and MobileNetV2 (timm has the same), and the VGGs of github.com/kuangliu/pytorch-cifar,
    whose ResNets with the small stem, of 11,173,962 and 21,282,122 weights, are those that the files state."""
    assert count_weights(spelling) == count


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "vgg16_bn", "vgg19_bn", "mobilenet_v2"])
def test_torchvisions_weights_are_of_the_same_names_and_shapes(name: str) -> None:
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name, num_classes=10)
    stem = "" if name.startswith("vgg") else "+stem~large"
    ours = described(name + stem)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_torchvisions_weights_give_the_same_answers(name: str) -> None:
    theirs = made(name).network
    ours = catalog.make("models", name, {"stem": "large"}).build(3, 10, (32, 32)).eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(ours(images), theirs(images), atol=1e-5)


@pytest.mark.parametrize(("name", "shape"), [("resnet18", (16, 32)), ("mobilenet_v2", (16, 16))])
def test_small_images_have_a_small_stem(name: str, shape: tuple[int, int]) -> None:
    """What the first stage gives has as many positions as the image, or a fourth or a half of them on a side."""
    for stem, pixels, rest in (("auto", 32, 32), ("auto", 64, 0), ("small", 64, 64), ("large", 32, 0)):
        model = small(name, stem=stem)
        model = Model(name, model.architecture, replace(RGB, shape=(pixels, pixels, 3)))
        found = stage_activations(model, find_stage(model, 1), black_images(model, 1))
        assert found.shape[2] == (rest or pixels // (4 if name == "resnet18" else 2))


def test_images_of_one_channel_are_taken_by_every_architecture() -> None:
    gray = replace(RGB, shape=(32, 32, 1), mean=(0.5,), std=(0.25,))
    for name in (name for name in MODELS if not catalog.describe("models", name).asks):
        assert torch.isfinite(logits(tiny(name, gray), np.zeros((1, 32, 32, 1), np.uint8))).all(), name


def test_dropout_draws_from_the_streams_of_the_seed(digits: tuple[Images, Images]) -> None:
    def trained(seed: int) -> torch.Tensor:
        model = tiny("vgg16_bn", digits[0].format, dropout=0.5, epochs=1)
        fit(model, digits[0][:64], model.recipe, Run("digits", seed), shuffled=False)
        return model.classifier.weight

    torch.manual_seed(1)
    first = trained(0)
    torch.manual_seed(2)
    assert torch.equal(first, trained(0)) and not torch.equal(first, trained(1))


@pytest.mark.parametrize(
    ("spelling", "message"),
    [
        ("timm+architecture~resnet81", "architecture is 'resnet81', .* near it: resnet18, "),
        ("timm+architecture~qqqq", "architecture is 'qqqq', .*list_models"),
        ("timm+architecture~resnet18.a1_in1k", "near it: resnet18, "),
    ],
)
def test_a_network_that_timm_does_not_have_is_refused_before_the_run(spelling: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        spellings.resolve("models", spelling)
    assert "\n" not in str(error.value)


def test_planning_knows_the_networks_of_timm() -> None:
    assert set(catalog.list_timm_networks()) == set(timm.list_models())


@pytest.mark.parametrize(
    ("architecture", "tiny"),
    [("convnext_base", "ConvNeXt"), ("vit_small_patch16_224", "VisionTransformer"), ("lcnet_035", "MobileNetV3")],
)
def test_networks_of_timm_have_tiny_forms(architecture: str, tiny: str) -> None:
    """LCNet has none, and is itself."""
    model = small("timm", architecture=architecture)
    assert type(model.network.tower).__name__ == tiny
    assert sum(weight.numel() for weight in model.parameters()) < 700_000


def test_what_timm_calls_as_a_function_is_no_unit(noise: Images) -> None:
    """The queries, keys and values of BEiT, which have a bias of their own."""
    build = catalog.make("models", "timm", {"architecture": "beit_base_patch16_224"}).build
    with torch.device("meta"):
        network = build(3, 10, (32, 32))
    units = catalog.make("models", "timm", {}).units(network)
    assert "tower.blocks.0.attn.qkv" in network.silent and "tower.blocks.0.attn.qkv" not in units
    assert "tower.blocks.0.attn.proj" in units


@pytest.mark.parametrize("name", ["dla46x_c", "resnetv2_18", "repvit_m1"])
def test_every_network_of_timm_has_one_linear_classifier(name: str) -> None:
    """Also where timm has a convolution, or two of them."""
    network = described(f"timm+architecture~{name}+size~64")
    assert catalog.make("models", "timm", {}).classifier(network) == "linear"


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"patch": 5}, "patch is 5, by which 32x32 pixels"), ({"heads": 3}, "width is 32, which 3 heads cannot share")],
)
def test_a_transformer_that_does_not_add_up_says_so(fields: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        small("vit_b_16", **fields)


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


def test_neurons_of_a_transformer_are_no_tokens(digits: tuple[Images, Images]) -> None:
    model = tiny("vit_b_16", digits[0].format)
    fit(model, poisoned(digits[0]), replace(model.recipe, epochs=1), Run("digits", 0))
    outputs = unit_outputs(model, next(iterate_batches(model, digits[1].images[:3])))
    tokens = 1 + 4 * 4
    assert outputs["tower.patch_embed.proj"].shape == (3, 32, 4, 4)
    block = {"attn.qkv": 96, "attn.proj": 32, "mlp.fc1": 128, "mlp.fc2": 32}
    assert all(outputs[f"tower.blocks.1.{name}"].shape == (3, units, tokens) for name, units in block.items())
    change = trigger_activated_change(model, digits[1], secret(digits[1]))
    assert all(len(change[f"tower.blocks.1.{name}"]) == units for name, units in block.items())
    assert all((change[f"tower.blocks.{number}.attn.qkv"] > 0).all() for number in (0, 1, 2))
    assert list(model.architecture.stages(model.network)) == ["tower.blocks.0", "tower.blocks.1", "tower.blocks.2"]


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
        ("resnet18", ["layer1", "layer2", "layer3"]),
        ("vgg16_bn", ["features.3", "features.7", "features.11"]),
        ("mobilenet_v2", ["features.1", "features.2", "features.3"]),
        ("vit_b_16", [f"tower.blocks.{number}" for number in (0, 1, 2)]),
        ("timm", [f"tower.stages.{number}" for number in (0, 1, 2, 3)]),
        ("densenet121", [f"features.denseblock{number}" for number in (1, 2, 3, 4)]),
        ("vit", ["encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1"]),
    ],
)
def test_stages_keep_their_names_when_one_is_filtered(name: str, stages: list[str], noise: Images) -> None:
    model = small(name) if name in MODELS else made(name)
    assert [find_stage(model, number) for number in range(1, len(stages) + 1)] == stages
    with pytest.raises(UserError, match=f"the stages of {model.name}: .*{len(stages)}$"):
        find_stage(model, len(stages) + 1)
    images = next(iterate_batches(model, noise.images))
    before = stage_activations(model, stages[1], images)
    model.wrap(Filtered(stage=2, k=2, norm="never"))
    assert list(model.architecture.stages(model.network)) == stages
    after = stage_activations(model, stages[1], images)
    assert before.shape == after.shape and not torch.allclose(before, after)
    assert torch.isfinite(logits(model, noise.images)).all()


class Branching(nn.Module):
    """Its forward branches on values, as some of timm's do on shapes."""

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


def test_a_network_that_branches_is_followed() -> None:
    model = made(lambda channels, classes, size: Branching(classes))
    (layer,) = unit_layers(model)
    assert layer.name == "norm" and layer.sources == (model.network.conv,)


def test_a_network_without_units_is_an_error() -> None:
    with pytest.raises(UserError, match="has no units") as error:
        unit_layers(made(flat))
    assert "\n" not in str(error.value)


def test_anp_masks_filters_where_there_is_nothing_else(hand: Hand, noise: Images, run: Run) -> None:
    model = made(lambda *given: nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), flat(*given)))
    method = catalog.make("defenses", "anp", {"steps": 2, "lr": 20.0, "max_drop": 1.0})
    pruned = method(**hand("defenses", "anp", victim=model, holdout=noise, run=run))
    rows = [row for row in run.rows if row["kind"] == "unit"]
    assert [row["layer"] for row in rows] == ["0"] * 3
    assert [bool((pruned.network[0].weight[row["unit"]] == 0).all()) for row in rows] == [row["pruned"] for row in rows]


def test_a_network_may_be_its_classifier(noise: Images) -> None:
    """As a linear probe of features is."""
    below = Extractor(small("preact_small"))
    model = Model("given", Given(make=lambda channels, classes, size: nn.Linear(channels, classes)), RGB, below)
    assert model.classifier is model.network and not model.units()
    assert logits(model, noise.images).shape == (12, 10)


def test_passes_of_a_network_and_its_copies_are_counted(untrained: Callable[[], Model]) -> None:
    model, passes = untrained(), Counter[str]()
    count_passes(model.network, passes)
    images = torch.rand(6, 3, 16, 16)
    with torch.no_grad():
        model(images)
    assert passes == {"forward": 6}
    logits = copy.deepcopy(model)(images)
    logits.sum().backward(retain_graph=True)
    logits.sum().backward()
    assert passes == {"forward": 12, "backward": 12}, "each way back of one way there"
    model.network.requires_grad_(False)
    model.classifier.requires_grad_(True)
    model(images[:2]).sum().backward()
    assert passes == {"forward": 14, "backward": 14}, "where the first layer is frozen"
    model(images[:2].requires_grad_()).sum().backward()
    model.requires_grad_(False)(images[:3])
    assert passes == {"forward": 19, "backward": 16}, "to the images, and where nothing needs a gradient"
