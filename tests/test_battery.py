"""Each architecture, tiny, with each defense that looks at networks; each method with a CNN that is not the one of all
other tests, and with a transformer."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import Hand, has_features, poisoned, quick, tiny

from workflow_scripts.common import catalog, config, spellings
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.grid import expand_grid
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model
from workflow_scripts.training.inference import logits
from workflow_scripts.training.loop import train as fit
from workflow_scripts.units.layers import unit_layers
from workflow_scripts.units.tac import FEATURES
from workflow_scripts.units.weight_change import neuron_layers

ARCHITECTURES = [
    name
    for name in catalog.list_methods("models")
    if catalog.describe("models", name).traits["classifies"] and name != "preact_small"
]
"""All but the network of all other tests."""
DEFENSES: dict[str, dict[str, Any]] = {
    "ft": {"epochs": 1},
    "fp": {"epochs": 1, "max_drop": 1.0, "step": 0.3},
    "clp": {"u": 1.0},
    "anp": {"steps": 6, "lr": 1e6, "max_drop": 1.0, "batch_size": 32},
    "rnp": {
        "unlearn_epochs": 2,
        "unlearn_lr": 0.05,
        "recover_epochs": 3,
        "lr": 1e5,
        "max_drop": 1.0,
        "batch_size": 32,
    },
    "ep": {"u": 1.0},
    "bnp": {"u": 1.0},
    "mcr": {"epochs": 1, "curve_epochs": 1, "sweep": False},
    "tsbd": {"unlearn_epochs": 1, "n": 0.3, "finetune": "none"},
    "fmp": {"samples": 8, "p": 8, "epochs": 0},
    "nad": {"epochs": 1, "teacher_epochs": 1, "lr": 0.01},
    "eigenguard": {"k": 4, "batch_size": 32, "stage": 2},
}


def is_refused(model: str, defense: str) -> bool:
    """Whether a network of this architecture lacks what the defense needs."""
    return bool(set(spellings.find_needs(defense)) & set(catalog.describe("models", model).traits["lacks"]))


PAIRS = [
    (name, defense)
    for name in ARCHITECTURES
    for defense in DEFENSES
    if not is_refused(name, defense) and (name, defense) != ("timm", "bnp")
]
"""All but those that are refused before a run; which network of timm it is, and what that has, a field says."""
VICTIMS = ("victim", "clean_victim", "retrained", "defended")
Victim = Callable[[str], Model]


@pytest.fixture(scope="module")
def victim_of(digits: tuple[Images, Images]) -> Victim:
    """Makes copies of tiny networks trained on BadNets-poisoned digits, of each architecture one."""
    trained: dict[str, Model] = {}

    def victim(name: str) -> Model:
        if name not in trained:
            trained[name] = tiny(name, digits[0].format, epochs=4)
            fit(trained[name], poisoned(digits[0]), trained[name].recipe, Run("digits", 0))
        return copy.deepcopy(trained[name])

    return victim


def scored_layers(defense: str, model: Model) -> set[str]:
    """The names of the layers whose units a defense logs."""
    if defense == "fp":
        return {FEATURES}
    if defense == "tsbd":
        return set(neuron_layers(model))
    if defense == "fmp":
        return set(model.units())
    left_out = {"anp": torch.nn.Conv2d, "rnp": torch.nn.Conv2d, "bnp": torch.nn.Conv2d | torch.nn.Linear}
    return {
        layer.name
        for layer in unit_layers(model)
        if not isinstance(layer.norm or layer.sources[0], left_out.get(defense, ()))
    }


def weights_of(model: Model, row: dict[str, Any]) -> torch.Tensor:
    """Those of a logged unit; of a feature, what the classifier makes of it."""
    if row["layer"] == FEATURES:
        return model.classifier.weight[:, row["unit"]]
    return model.network.get_submodule(row["layer"]).weight[row["unit"]]  # type: ignore[index, no-any-return]


@pytest.mark.parametrize(("name", "defense"), PAIRS)
def test_an_architecture_is_defended_as_logged(
    name: str, defense: str, victim_of: Victim, hand: Hand, digits: tuple[Images, Images], run: Run
) -> None:
    method, victim = catalog.make("defenses", defense, DEFENSES[defense]), victim_of(name)
    untrained = tiny(name, digits[0].format, epochs=1)
    model = method(**hand("defenses", defense, victim=victim_of(name), model=untrained, run=run))
    assert torch.isfinite(logits(model, digits[1].images)).all() and "diverged" not in run.notes
    rows = [row for row in run.rows if row["kind"] == "unit"]
    if defense in ("ft", "nad", "eigenguard", "mcr"):
        assert not rows and not torch.equal(model.classifier.weight, victim.classifier.weight)
        return
    assert {row["layer"] for row in rows} == scored_layers(defense, victim)
    assert {row["pruned"] for row in rows} == {True, False}
    for row in rows:
        silent = weights_of(model, row) == 0
        assert bool(silent.any() if defense == "tsbd" else silent.all()) == row["pruned"], row


CONFIG = config.read({"studies": "one", "datasets": {"digits": {"loader": "digits"}}})
GRID = {"dataset": "digits", "attack": "badnets", "ratio": 0.1, "seed": 0}


@pytest.mark.parametrize(
    ("model", "defense", "message"),
    [
        ("probe", "eigenguard", "eigenguard needs stages, and probe has none"),
        ("probe", "nad", "nad needs stages, and probe has none"),
        (
            "resnet18",
            {"holder": {"estimator": "head"}},
            "holder.estimator~head needs an extractor, and resnet18 has none",
        ),
        ("vit_b_16", {"holder": {"estimator": "neuron"}}, "needs an extractor, and vit_b_16 has none"),
        ("vit_b_16", "bnp", "bnp needs batch normalization, and vit_b_16 has none"),
    ],
)
def test_an_impossible_pair_is_refused_before_the_run(model: str, defense: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(expand_grid({**GRID, "model": model, "defense": defense}, CONFIG))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": "stego"}, "the network of a cell must be a classifier, and stego is none"),
        (
            {"model": {"probe": {"extractor": "stego_encoder"}}},
            "what probe.extractor~stego_encoder stands on must be a",
        ),
    ],
)
def test_a_network_that_does_not_classify_is_refused_before_the_run(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(expand_grid({**GRID, "defense": "none", **changed}, CONFIG))


def test_a_possible_pair_is_none_of_them() -> None:
    pairs = [("probe", {"holder": {"estimator": "head"}}), ("resnet18", ["eigenguard", "holder"])]
    for model, defense in pairs:
        assert list(expand_grid({**GRID, "model": model, "defense": defense}, CONFIG))


TRAINABLE = [
    (kind, name)
    for kind in ("attacks", "auxiliaries", "defenses", "detectors", "analyses")
    for name in catalog.list_methods(kind)
    if {*VICTIMS, "model"} & set(catalog.describe(kind, name).asks)
    and not any(catalog.describe(kind, name).traits.get(trait) for trait in ("hub", "of_record"))  # made by others
    and (kind != "auxiliaries" or has_features(name))
]


@pytest.mark.parametrize(
    ("kind", "name", "architecture"),
    [
        (*method, architecture)
        for method in TRAINABLE
        for architecture in ("resnet18", "vit_b_16")
        if method[0] != "defenses" or not is_refused(architecture, method[1])
    ],
)
def test_a_method_takes_a_cnn_and_a_transformer(
    kind: str, name: str, architecture: str, victim_of: Victim, hand: Hand, digits: tuple[Images, Images], run: Run
) -> None:
    catalog.make("defenses", "clp", {"u": 1.0})(victim=victim_of(architecture), run=(logged := Run("digits", 0)))
    given: dict[str, Any] = {ask: victim_of(architecture) for ask in VICTIMS}
    given |= {"model": tiny(architecture, digits[0].format, epochs=1), "log": logged.log_table(), "run": run}
    made = quick(kind, name)(**hand(kind, name, **given))
    assert "diverged" not in run.notes
    if isinstance(made, Model):
        assert torch.isfinite(logits(made, digits[1].images)).all()
    if kind == "analyses":
        assert len(made[0]) and "skipped" not in made[1]
