"""The battery over every defense and control of the catalog, and what is special to some."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import Hand, quick

from workflow_scripts.common import catalog
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses.clp import lipschitz_bounds
from workflow_scripts.networks.model import Model
from workflow_scripts.training.inference import accuracy, logits
from workflow_scripts.units.features import penultimate_features
from workflow_scripts.units.layers import unit_layers

DEFENSES = catalog.list_methods("defenses")
Defend = Callable[..., tuple[Model, Run]]


@pytest.fixture(scope="module")
def defend(hand: Hand) -> Defend:
    """Runs a defense on the BadNets victim: its own arguments, from scratch each time."""

    def defended(name: str, method: Any = None) -> tuple[Model, Run]:
        run = Run("digits", 0)
        return (method or quick("defenses", name))(**hand("defenses", name, run=run)), run

    return defended


@pytest.mark.parametrize("name", DEFENSES)
def test_gives_a_working_network_of_the_same_architecture(
    name: str, defend: Defend, victim: Callable[[], Model]
) -> None:
    model, run = defend(name)
    expected = victim()
    if model.wrapper:
        expected.wrap(model.wrapper)
    shapes = [{k: v.shape for k, v in m.network.state_dict().items()} for m in (model, expected)]
    assert shapes[0] == shapes[1]
    assert "diverged" not in run.notes


@pytest.mark.parametrize("name", DEFENSES)
def test_two_runs_are_equal_bit_by_bit(name: str, defend: Defend) -> None:
    (first, run), (second, again) = defend(name), defend(name)
    for key, value in first.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[key]), key
    assert run.rows == again.rows


ASKED_OF = [(kind, n) for kind in ("defenses", "detectors", "analyses") for n in catalog.list_methods(kind)]


@pytest.mark.parametrize(("kind", "name"), ASKED_OF)
def test_a_victim_that_diverged_is_a_result_and_no_crash(
    kind: str, name: str, hand: Hand, victim: Callable[[], Model]
) -> None:
    """Of weights that are not finite, one in a hundred: enough for every layer, and every answer."""

    def diverged() -> Model:
        model = victim()
        with torch.no_grad():
            for place, parameter in enumerate(model.network.parameters()):
                lost = torch.rand(parameter.shape, generator=torch.Generator().manual_seed(place)) < 0.01
                parameter[lost] = torch.nan
        return model

    networks = ("victim", "defended", "clean_victim", "retrained")
    given = {ask: diverged() for ask in catalog.describe(kind, name).asks if ask in networks}
    if not catalog.describe(kind, name).traits.get("stands_for"):
        quick(kind, name)(**hand(kind, name, **given))


@pytest.mark.parametrize("name", DEFENSES)
def test_the_signature_names_nothing_secret(name: str) -> None:
    described = catalog.describe("defenses", name)
    if not described.traits["control"]:
        assert not {"truth", "test", "train", "clean_victim", "ratio"} & set(described.asks)


@pytest.mark.parametrize("name", [name for name in DEFENSES if "max_drop" in catalog.describe("defenses", name).fields])
def test_a_threshold_is_logged_with_the_holdout_accuracy_that_chose_it(name: str, defend: Defend) -> None:
    _, run = defend(name)
    choices = [row for row in run.rows if row["kind"] == "choice"]
    assert choices and all(0 <= row["holdout_accuracy"] <= 1 for row in choices)
    assert 0 <= run.notes["pruned_share"] < 1


def test_a_defense_may_not_ask_for_the_truth(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "defenses").mkdir()
    source = "class Defense: ...\n@dataclass\nclass Peeks(Defense):\n    def __call__(self, victim, truth): ...\n"
    (tmp_path / "defenses" / "peeks.py").write_text(source)
    monkeypatch.setattr(catalog, "ROOT", tmp_path)
    with pytest.raises(UserError, match="may not ask for 'truth'"):
        catalog.describe("defenses", "peeks")


def test_fine_pruning_keeps_its_mask_while_fine_tuning(defend: Defend) -> None:
    method = catalog.make("defenses", "fp", {"epochs": 2, "max_drop": 0.3, "lr": 0.1})
    model, run = defend("fp", method)
    pruned = [row["unit"] for row in run.rows if row["kind"] == "unit" and row["pruned"]]
    assert pruned and (model.classifier.weight[:, pruned] == 0).all()
    kept = [row["unit"] for row in run.rows if row["kind"] == "unit" and not row["pruned"]]
    assert (model.classifier.weight[:, kept] != 0).all()


def test_fine_pruning_cuts_the_dormant_first(defend: Defend) -> None:
    _, run = defend("fp")
    units = [row for row in run.rows if row["kind"] == "unit"]
    pruned, kept = ([row["score"] for row in units if row["pruned"] is flag] for flag in (True, False))
    assert pruned and max(pruned) <= min(kept)


def test_anp_never_prunes_below_its_tolerance(defend: Defend, digits: tuple[Images, Images]) -> None:
    method = catalog.make("defenses", "anp", {"steps": 20, "max_drop": 0.02})
    model, run = defend("anp", method)
    chosen = [r for r in run.rows if r["kind"] == "choice"]
    _, validation = digits[0][:80].split()
    floor = chosen[0]["holdout_accuracy"] - 0.02  # at threshold 0 little or nothing is pruned yet
    assert accuracy(model, validation) >= floor - 1e-6
    masks = torch.tensor([row["score"] for row in run.rows if row["kind"] == "unit"])
    assert ((masks >= 0) & (masks <= 1)).all() and masks.min() < 0.9


def test_the_first_threshold_that_loses_accuracy_ends_anps_search(
    defend: Defend, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workflow_scripts.units import masks

    kept = iter((1.0, 1.0, 0.99, 0.5, 1.0, 1.0))  # the victim's, then those of 0, 0.05, 0.1, …
    monkeypatch.setattr(masks, "accuracy", lambda *_: next(kept))
    _, run = defend("anp", catalog.make("defenses", "anp", {"steps": 1}))
    assert [row["value"] for row in run.rows if row["kind"] == "choice"] == pytest.approx([0, 0.05, 0.1])
    assert {row["pruned"] for row in run.rows if row["kind"] == "unit"} == {False}, "no mask has fallen below 0.05"


def test_abl_isolates_a_share_and_logs_which(defend: Defend, digits: tuple[Images, Images]) -> None:
    method = catalog.make(
        "defenses",
        "abl",
        {"isolation_epochs": 3, "finetune_epochs": 1, "unlearn_epochs": 1, "isolate": 0.05, "lr": 0.05},
    )
    _, run = defend("abl", method)
    isolated = {row["index"] for row in run.rows if row["kind"] == "isolated"}
    assert len(isolated) == round(0.05 * len(digits[0]))
    assert [r["phase"] for r in run.rows if r["kind"] == "epoch"] == ["isolation"] * 3 + ["fine-tuning", "unlearning"]


def test_random_pruning_prunes_its_share(defend: Defend) -> None:
    model, run = defend("random_pruning", catalog.make("defenses", "random_pruning", {"share": 0.25}))
    units = [row for row in run.rows if row["kind"] == "unit"]
    assert sum(row["pruned"] for row in units) == round(0.25 * len(units))
    named = {layer.name: layer for layer in unit_layers(model)}
    for row in units:
        module = named[row["layer"]].norm or named[row["layer"]].sources[0]
        assert bool((module.weight[row["unit"]] == 0).all()) == row["pruned"]


def test_layers_follow_the_graph_not_the_order_of_modules(victim: Callable[[], Model]) -> None:
    model = victim()
    names = {id(module): name for name, module in model.network.named_modules()}
    found = {layer.name: [names[id(conv)] for conv in layer.sources] for layer in unit_layers(model)}
    assert found == {
        "layer1.0.bn1": ["conv1"],
        "layer1.0.bn2": ["layer1.0.conv1"],
        "layer2.0.bn1": ["layer1.0.conv2", "conv1"],
        "layer2.0.bn2": ["layer2.0.conv1"],
        "layer3.0.bn1": ["layer2.0.conv2", "layer2.0.shortcut.0"],
        "layer3.0.bn2": ["layer3.0.conv1"],
        "bn": ["layer3.0.conv2", "layer3.0.shortcut.0"],
    }


def test_the_lipschitz_bound_is_the_gain_of_the_worst_input(victim: Callable[[], Model]) -> None:
    """Of a summed pair of convolutions: the norm of the one linear map from both inputs to the channel."""
    layer = next(layer for layer in unit_layers(victim()) if layer.name == "layer3.0.bn1")
    assert layer.norm is not None and layer.norm.running_var is not None
    wide, narrow = (conv.weight.detach() for conv in layer.sources)
    gain = layer.norm.weight.abs() / (layer.norm.running_var + layer.norm.eps).sqrt()
    matrix = torch.zeros(len(layer), wide.shape[1] + narrow.shape[1], 9)
    matrix[:, : wide.shape[1]] = wide.flatten(2)
    matrix[:, wide.shape[1] :, 4] = narrow[:, :, 0, 0]  # the 1x1 kernel sits in the middle of the 3x3
    expected = torch.linalg.matrix_norm(matrix, 2) * gain
    assert torch.allclose(lipschitz_bounds(layer), expected, rtol=1e-5)


def test_clp_prunes_outliers_only(victim: Callable[[], Model], run: Run) -> None:
    model = victim()
    layer = unit_layers(model)[1]
    assert layer.norm is not None
    with torch.no_grad():
        layer.norm.weight[3] *= 100
    catalog.make("defenses", "clp", {"u": 2.0})(victim=model, run=run)
    assert layer.norm.weight[3] == 0 and layer.norm.bias[3] == 0
    assert (layer.norm.weight[[0, 1, 2]] != 0).all()


def test_features_are_the_inputs_of_the_head(victim: Callable[[], Model], digits: tuple[Images, Images]) -> None:
    model, images = victim(), digits[1].images[:10]
    assert torch.allclose(model.classifier(penultimate_features(model, images)), logits(model, images), atol=1e-5)
