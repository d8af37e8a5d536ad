"""TSBD: clean unlearning, neuron weight change, re-initialization, activeness-aware fine-tuning."""

import copy
import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from workflow_scripts.common import catalog
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import ImageFormat, Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses import fp
from workflow_scripts.defenses import tsbd as module
from workflow_scripts.defenses.tsbd import largest_neurons, reinitialize, select_weights
from workflow_scripts.models.preact_resnet18 import PreActResNet18
from workflow_scripts.models.probe import Probe
from workflow_scripts.networks.model import Model, in_float32
from workflow_scripts.techniques.sharpness import ActivenessAware
from workflow_scripts.techniques.unlearning import unlearn
from workflow_scripts.training.inference import accuracy
from workflow_scripts.training.loader import Batch, to_network
from workflow_scripts.training.loop import train
from workflow_scripts.units.weight_change import PerLayer, neuron_layers, neuron_weight_changes, weight_changes

Norm = Literal["per_tensor", "global"]


@pytest.fixture(scope="module")
def holdout(digits: tuple[Images, Images]) -> Images:
    return digits[0][:80]


@pytest.fixture(scope="module")
def changes(victim: Callable[[], Model], holdout: Images) -> PerLayer:
    return weight_changes(victim(), unlearn(victim(), holdout, Run("digits", 0), epochs=3))


def tsbd(**params: Any) -> Any:
    return catalog.make("defenses", "tsbd", {"unlearn_epochs": 2, "finetune_epochs": 2, **params})


def batch(data: Images) -> tuple[torch.Tensor, torch.Tensor]:
    return to_network(torch.from_numpy(data.images)), torch.from_numpy(data.labels)


def as_batch(data: Images) -> Batch:
    images, labels = batch(data)
    return Batch(images, labels, torch.arange(len(labels)))


CIFAR = ImageFormat((32, 32, 3), tuple("0123456789"), (0.5,) * 3, (0.25,) * 3)


def parameters(model: Model) -> list[torch.Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def test_the_neurons_of_preact_resnet18_are_the_3904_that_are_no_shortcut() -> None:
    found = neuron_layers(Model("preact_resnet18", PreActResNet18(), CIFAR))
    assert sum(len(layer.weight) for layer in found.values()) == 3904
    assert list(found)[0] == "conv1" and list(found)[-1] == "layer4.1.conv2"
    assert not any("shortcut" in name for name in found)


def test_rows_of_hidden_linear_layers_are_neurons_and_the_classifier_has_none() -> None:
    mlp = Model("probe", Probe(hidden=(3, 3)), CIFAR)
    assert list(neuron_layers(mlp, "all")) == list(neuron_layers(mlp, "linear")) == ["0", "2"]
    with pytest.raises(UserError, match="no convolution"):
        neuron_layers(mlp, "conv")


def test_clean_unlearning_raises_the_loss_in_every_epoch(victim: Callable[[], Model], holdout: Images) -> None:
    run, model = Run("digits", 0), victim()
    before = parameters(model)
    unlearn(model, holdout, run, epochs=5)
    losses = [-row["loss"] for row in run.rows if row["kind"] == "epoch"]
    assert len(losses) == 5 and all(b > a for a, b in zip(losses, losses[1:], strict=False))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)), "a copy is unlearned"


def test_unlearning_stops_at_its_accuracy(victim: Callable[[], Model], holdout: Images) -> None:
    run = Run("digits", 0)
    unlearn(victim(), holdout, run, epochs=50, lr=1e-2, stop_accuracy=0.5)
    asked = [row["holdout_accuracy"] for row in run.rows if row["kind"] == "choice"]
    assert len(asked) < 50 and asked[-1] <= 0.5 and all(kept > 0.5 for kept in asked[:-1])


def test_an_ascent_that_overflows_is_no_failure_of_the_defense(victim: Callable[[], Model], holdout: Images) -> None:
    run = Run("digits", 0)
    model = unlearn(victim(), holdout, run, epochs=50, lr=1e30, stop_accuracy=0.0)
    assert "diverged" not in run.notes and "not finite" in run.notes["unlearning"]
    assert all(torch.isfinite(value).all() for value in model.network.state_dict().values())


@pytest.mark.parametrize("scheme", ["v1", "v2", "v3", "random"])
def test_schemes_mask_what_their_budget_says(scheme: Any, changes: PerLayer) -> None:
    scores = torch.cat(list(neuron_weight_changes(changes).values()))
    top = scores.topk(int(0.3 * len(scores))).values.min()
    pools = {name: score >= top for name, score in neuron_weight_changes(changes).items()}
    pool = sum(int(rows.sum()) * changes[name][0].numel() for name, rows in pools.items())
    masks = select_weights(changes, largest_neurons(changes, 0.3), scheme, 0.6)
    count = sum(int(mask.sum()) for mask in masks.values())
    taken = torch.cat([changes[name][mask] for name, mask in masks.items()])
    equals = int((taken == taken.min()).sum())  # of the last one taken
    assert count == pool if scheme == "v1" else count - equals < int(0.6 * pool) <= count
    for name, mask in masks.items():
        among = torch.ones_like(mask) if scheme == "v2" else pools[name].view(-1, 1, 1, 1).expand_as(mask)
        assert not (mask & ~among).any()
        assert (changes[name][among & ~mask] < taken.min()).all(), "one cut-off over all layers"


def test_no_neurons_no_mask(changes: PerLayer) -> None:
    assert not any(mask.any() for mask in select_weights(changes, largest_neurons(changes, 0.0), "v3", 0.7).values())


@pytest.mark.parametrize("scheme", ["v3", "random"])
def test_only_what_is_masked_is_touched(scheme: Any, victim: Callable[[], Model], changes: PerLayer, run: Run) -> None:
    model, masks = victim(), select_weights(changes, largest_neurons(changes, 0.3), scheme, 0.6)
    reinitialize(model, masks, run.torch_rng("test") if scheme == "random" else None)
    after = model.network.state_dict()
    for key, value in victim().network.state_dict().items():
        mask = masks.get(key.removesuffix(".weight"), torch.zeros_like(value, dtype=torch.bool))
        assert torch.equal(after[key][~mask], value[~mask]), key
        if scheme == "v3":
            assert (after[key][mask] == 0).all()
        else:
            assert (after[key][mask] != value[mask]).all()
            assert (after[key][mask].abs() <= (value[0].numel() if value.ndim else 1) ** -0.5).all()


@pytest.mark.parametrize("norm", ["per_tensor", "global"])
def test_the_gradient_is_the_finite_difference_form(norm: Norm, victim: Callable[[], Model], holdout: Images) -> None:
    model, (images, labels) = victim().train(), batch(holdout)
    model.recipe = replace(model.recipe, precision="fp32")
    start = dict(model.named_parameters())

    def gradients(values: dict[str, Any]) -> dict[str, torch.Tensor]:
        loss = F.cross_entropy(functional_call(copy.deepcopy(model), values, (images,)), labels)
        return dict(zip(values, torch.autograd.grad(loss, list(values.values())), strict=True))

    first = gradients(start)
    whole = torch.sqrt(sum(((g**2).sum() for g in first.values()), torch.zeros(())))
    length = {key: g.norm() if norm == "per_tensor" else whole for key, g in first.items()}
    second = gradients({key: value + 0.05 * first[key] / length[key] for key, value in start.items()})
    ActivenessAware(model, 0.05, 0.7, norm).step(as_batch(holdout))
    for key, value in model.named_parameters():
        assert value.grad is not None
        assert torch.allclose(value.grad, 0.3 * first[key] + 0.7 * second[key], rtol=1e-3, atol=1e-6), key


def test_the_passes_leave_the_model_alone_and_the_last_moves_its_statistics(
    victim: Callable[[], Model], holdout: Images
) -> None:
    model = victim().train()
    before = copy.deepcopy(model.state_dict())
    aware = ActivenessAware(model, 0.05, 0.7, "per_tensor")
    aware.step(as_batch(holdout))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    aware.after_step()
    moved = [key for key, value in model.state_dict().items() if not torch.equal(value, before[key])]
    assert moved and all("running" in key or "num_batches" in key for key in moved)


def test_alpha_zero_is_plain_sgd_but_for_the_statistics(victim: Callable[[], Model], holdout: Images) -> None:
    plain, vanilla = victim(), victim()
    recipe = replace(plain.recipe, epochs=1, batch_size=80)
    aware = ActivenessAware(vanilla, 0.05, 0.0, "per_tensor")
    follow = {"step": aware.step, "after_step": aware.after_step}
    statistics = {key: value.clone() for key, value in plain.network.named_buffers()}
    train(plain, holdout, recipe, Run("digits", 0))
    train(vanilla, holdout, recipe, Run("digits", 0), **follow)  # type: ignore[arg-type]
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), vanilla.parameters(), strict=True))
    plain.network.load_state_dict(statistics, strict=False)
    plain.train()(aware.seen)
    for key, value in plain.network.named_buffers():
        assert torch.equal(value, dict(vanilla.network.named_buffers())[key]), key


def test_a_vanishing_radius_is_alpha_zero(victim: Callable[[], Model], holdout: Images) -> None:
    near, plain = victim().train(), victim().train()
    ActivenessAware(near, 1e-30, 0.7, "per_tensor").step(as_batch(holdout))
    ActivenessAware(plain, 1e-30, 0.0, "per_tensor").step(as_batch(holdout))
    for a, b in zip(near.parameters(), plain.parameters(), strict=True):
        assert a.grad is not None and b.grad is not None
        assert torch.allclose(a.grad, b.grad, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("norm", ["per_tensor", "global"])
def test_a_gradient_of_zero_moves_nothing(norm: Norm, victim: Callable[[], Model], holdout: Images) -> None:
    model = victim().train()
    with torch.no_grad():
        model.classifier.weight.zero_()  # no gradient passes it
    ActivenessAware(model, 0.05, 0.7, norm).step(as_batch(holdout))
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_the_defense_zeroes_logs_and_notes_the_same_neurons(victim: Callable[[], Model], holdout: Images) -> None:
    run, before = Run("digits", 0), victim().network.state_dict()
    model = tsbd(finetune="none", reinit="v1", n=0.25)(victim=victim(), holdout=holdout, run=run)
    units = [row for row in run.rows if row["kind"] == "unit"]
    for row in units:
        weight = model.network.get_submodule(row["layer"]).weight[row["unit"]]
        assert bool((weight == 0).all()) == row["pruned"]
        assert row["pruned"] or torch.equal(weight, before[f"{row['layer']}.weight"][row["unit"]])
    scores = [[row["score"] for row in units if row["pruned"] is flag] for flag in (True, False)]
    assert min(scores[0]) >= max(scores[1])
    count = int(0.25 * len(units))
    assert run.notes == {"pruned_share": count / len(units), "pruned_layers": "all", "finetune_epochs": 0}


def test_n_is_chosen_by_the_held_back_fifth_alone(
    victim: Callable[[], Model], holdout: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SWEEP", (0.05, 0.9))
    method, (fit, validation) = (
        tsbd(n_rule="holdout", max_drop=0.1, lr=0.05, finetune_epochs=6, finetune="vanilla"),
        holdout.split(),
    )
    other = replace(validation, labels=(validation.labels + 1) % 10)
    swapped = fit.replace_rows(other)
    run, blind = Run("digits", 0), Run("digits", 0)
    exact = in_float32(victim())  # bfloat16 trains to other weights where a processor has it
    model = method(victim=exact, holdout=holdout, run=run)
    method(victim=exact, holdout=swapped, run=blind)
    choices = {row["value"]: row["holdout_accuracy"] for row in run.rows if row.get("name") == "n"}
    assert tuple(choices) == (0.0, 0.05, 0.9)
    floor = accuracy(exact, validation) - 0.1
    chosen = max([n for n, kept in choices.items() if kept >= floor], default=0.0)
    assert 0 < chosen < 0.9, "the data show the rule"
    assert accuracy(model, validation) == choices[chosen]
    learned = [[row for row in r.rows if row["kind"] == "epoch"] for r in (run, blind)]
    assert learned[0] == learned[1], "nothing is fitted to the fifth"


def test_the_first_n_that_loses_accuracy_ends_the_search(
    victim: Callable[[], Model], holdout: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = iter((1.0, 1.0, 0.99, 0.5, 1.0, 1.0))  # the victim's, then those of 0, 0.01, 0.05, …
    monkeypatch.setattr(module, "accuracy", lambda *_: next(kept))
    run = Run("digits", 0)
    tsbd(n_rule="holdout", finetune="none")(victim=victim(), holdout=holdout, run=run)
    assert [row["value"] for row in run.rows if row.get("name") == "n"] == [0.0, 0.01, 0.05]
    pruned = {row["pruned"] for row in run.rows if row["kind"] == "unit"}
    assert pruned == {True, False} and run.notes["pruned_share"] <= 0.01


def test_fine_pruning_by_nwc_cuts_what_unlearning_changes_most(
    victim: Callable[[], Model], holdout: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = functools.partial(unlearn, epochs=3)
    monkeypatch.setattr(fp, "unlearn", short)
    run, (fit, _) = Run("digits", 0), holdout.split()
    method = catalog.make("defenses", "fp", {"order": "nwc", "epochs": 1, "max_drop": 0.3})
    model = method(victim=victim(), holdout=holdout, run=run)
    units = [row for row in run.rows if row["kind"] == "unit"]
    changed = weight_changes(victim(), short(victim(), fit, Run("digits", 0)))["layer3.0.conv2"]
    assert [row["score"] for row in units] == changed.flatten(1).sum(1).tolist()
    pruned = [row["unit"] for row in units if row["pruned"]]
    assert 0 < len(pruned) < len(units)
    assert min(units[k]["score"] for k in pruned) >= max(row["score"] for row in units if not row["pruned"])
    assert (model.classifier.weight[:, pruned] == 0).all()


def test_fine_pruning_by_nwc_needs_a_neuron_for_each_feature(victim: Callable[[], Model], holdout: Images) -> None:
    model = victim()
    model.network.extra = nn.Linear(3, 3)  # the last layer, but none that the head reads
    method = catalog.make("defenses", "fp", {"order": "nwc", "epochs": 1})
    with pytest.raises(UserError, match="order is 'nwc'"):
        method(victim=model, holdout=holdout, run=Run("digits", 0))
