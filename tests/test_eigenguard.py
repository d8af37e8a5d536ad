"""EigenGuard: the filter against its definition, its protocols, its analyses and their figures."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import poisoned, secret
from torch import nn

from workflow_scripts.common import catalog, spellings
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.evaluation.protocols import predict_under, protocol_batches
from workflow_scripts.networks import weights
from workflow_scripts.networks.model import Model, Protocol
from workflow_scripts.networks.spectrum import GramFilter, SpectralFilter, Spectrum
from workflow_scripts.training.inference import logits, predict
from workflow_scripts.training.loop import train
from workflow_scripts.wrappers.spectral_filter import Filtered

ARMS = [
    Spectrum(k=4, tail_factor=0.1),
    Spectrum(k=4, tail="unchanged"),
    Spectrum(k=4, top="removed", tail="unchanged"),
    Spectrum(k=4, top="unchanged"),
]


def batch(count: int, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Random activations with singular values that differ."""
    rows = torch.randn(count, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (rows * torch.linspace(1, 0.1, shape[0], dtype=torch.float64).view(-1, *[1] * (len(shape) - 1))).to(dtype)


def filtered(activations: torch.Tensor, spectrum: Spectrum) -> torch.Tensor:
    return SpectralFilter(spectrum, activations[0].numel()).eval()(activations)


def by_svd(rows: torch.Tensor, spectrum: Spectrum) -> torch.Tensor:
    """The definition, of rows (B, D) and k = 4."""
    left, levels, right = torch.linalg.svd(rows, full_matrices=False)
    new = levels.clone()
    if spectrum.tail == "damped":
        new[4:] = spectrum.tail_factor * levels[3]
    if spectrum.top != "unchanged":
        new[:4] = levels[3] if spectrum.top == "leveled" else 0
    return left * new @ right


def sigma(activations: torch.Tensor) -> torch.Tensor:
    return torch.linalg.svdvals(activations.flatten(1).double())


def test_the_top_is_leveled_and_the_tail_damped() -> None:
    before, after = batch(32, 8, 4, 4), filtered(batch(32, 8, 4, 4), Spectrum(k=5))
    strength = sigma(before)[4]
    assert after.shape == before.shape
    expected = torch.cat([strength.expand(5), 0.001 * strength.expand(27)])
    assert torch.allclose(sigma(after), expected, rtol=1e-3)


@pytest.mark.parametrize("spectrum", ARMS)
@pytest.mark.parametrize("shape", [(32, 8, 4, 4), (32, 20)])
def test_the_gram_form_equals_the_svd_form(spectrum: Spectrum, shape: tuple[int, ...]) -> None:
    rows = batch(*shape)
    wanted = by_svd(rows.flatten(1), spectrum).view_as(rows)
    assert (filtered(rows, spectrum) - wanted).norm() < 1e-4 * wanted.norm()


def test_the_gram_form_keeps_a_tail_four_digits_below() -> None:
    left, right = (torch.linalg.qr(batch(n, 24, dtype=torch.float64))[0] for n in (24, 200))
    rows = (left * torch.logspace(0, -4, 24, dtype=torch.float64)) @ right.T
    wanted = by_svd(rows, Spectrum(k=4, tail_factor=1.0))
    assert (filtered(rows.float(), Spectrum(k=4, tail_factor=1.0)) - wanted).norm() < 1e-3 * wanted.norm()


def test_all_directions_are_equal_where_k_is_the_rank() -> None:
    levels = sigma(filtered(batch(8, 20), Spectrum(k=8)))
    assert torch.allclose(levels, levels[0].expand(8), rtol=1e-5)
    assert torch.equal(filtered(batch(8, 20), Spectrum(k=8)), filtered(batch(8, 20), Spectrum(k=50, tail_factor=1.0)))
    tall = batch(20, 8)
    assert torch.allclose(sigma(filtered(tall, Spectrum(k=50))), sigma(tall)[7].expand(8), rtol=1e-4)


def test_one_image_is_itself() -> None:
    one = batch(1, 8, 4, 4)
    assert torch.allclose(filtered(one, Spectrum()), one, rtol=1e-6)


def test_the_order_of_a_batch_does_not_matter() -> None:
    rows, order = batch(16, 30), torch.randperm(16, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(filtered(rows, Spectrum(k=3))[order], filtered(rows[order], Spectrum(k=3)), atol=1e-5)


@pytest.mark.parametrize("spectrum", ARMS)
@pytest.mark.parametrize("shape", [(7, 12), (9, 6)])
def test_the_full_gradient_is_the_derivative(spectrum: Spectrum, shape: tuple[int, int]) -> None:
    rows = batch(*shape, dtype=torch.float64).requires_grad_()

    def output(x: torch.Tensor) -> torch.Tensor:
        return GramFilter.apply(x @ x.T, spectrum)[0] @ x

    assert torch.autograd.gradcheck(output, (rows,), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("gradient", ["detached", "full"])
@pytest.mark.parametrize("rows", [torch.eye(8, 20), torch.zeros(8, 20), torch.ones(8, 20), batch(4, 20).repeat(2, 1)])
def test_the_gradient_is_finite_where_singular_values_tie_or_vanish(gradient: Any, rows: torch.Tensor) -> None:
    rows = rows.clone().requires_grad_()
    filtered(rows, Spectrum(k=3, gradient=gradient)).pow(3).sum().backward()
    assert rows.grad is not None and torch.isfinite(rows.grad).all()


def test_the_detached_gradient_is_that_of_a_constant_matrix() -> None:
    rows, weight = batch(8, 20).requires_grad_(), batch(8, 20).flip(0)
    (filtered(rows, Spectrum(k=3)) * weight).sum().backward()
    matrix = GramFilter.apply(rows.detach().double() @ rows.detach().double().T, Spectrum(k=3))[0]
    assert rows.grad is not None
    assert torch.allclose(rows.grad, (matrix.T @ weight.double()).float(), rtol=1e-4, atol=1e-6)


def test_what_has_diverged_passes_through() -> None:
    rows = torch.full((4, 6), torch.nan)
    assert torch.isnan(filtered(rows, Spectrum())).all()


def test_the_running_basis_is_that_of_the_batches() -> None:
    """Of batches that are all alike every image alone is filtered as in its batch."""
    left, right = (torch.linalg.qr(batch(n, 12, dtype=torch.float64))[0] for n in (12, 40))
    levels = torch.tensor([9.0, 7.0, 5.0, 4.0] + [1.0] * 8, dtype=torch.float64)
    rows = ((left * levels) @ right.T).float()
    for spectrum in ARMS:
        module = SpectralFilter(spectrum, 40)
        for _ in range(3):
            module(rows)
        wanted = module.eval()(rows)
        module.running = True
        assert torch.allclose(module(rows), wanted, atol=1e-4), spectrum
        assert torch.allclose(module(rows[:1]), wanted[:1], atol=1e-4), spectrum


@pytest.fixture(scope="module")
def guarded(digits: tuple[Images, Images], untrained: Callable[[], Model]) -> Callable[[], Model]:
    """Makes copies of a network that was trained on poisoned digits by EigenGuard."""
    method = catalog.make("defenses", "eigenguard", {"batch_size": 32, "tail": "unchanged", "sweep": True})
    model = method(poisoned_train=poisoned(digits[0]), model=untrained(), run=Run("digits", 0))
    return lambda: copy.deepcopy(model)


def test_the_filter_is_trained_with_and_asked_by_its_protocols(
    guarded: Callable[[], Model], digits: tuple[Images, Images], run: Run
) -> None:
    model, (_, test) = guarded(), digits
    names = [protocol.name for protocol in model.protocols]
    assert names[:3] == ["homogeneous", "mixed", "running"] and "batch 8" in names and "mixed 0.5" in names
    assert len(set(names)) == len(names)
    triggered = secret(test).triggered.images
    rates = {}
    for protocol in model.protocols:
        answers, _ = predict_under(model, protocol, test.images, triggered, run)
        rates[protocol.name] = (answers == test.labels).mean()
    assert rates["homogeneous"] > 0.6 and rates["running"] > 0.6


def test_running_answers_do_not_hang_on_the_batch(guarded: Callable[[], Model], digits: tuple[Images, Images]) -> None:
    model, images = guarded(), digits[1].images[:40]
    assert model.wrapper
    apart = {}
    for name in ("running", "homogeneous"):
        model.wrapper.ask(model, Protocol(name))
        apart[name] = (logits(model, images) - logits(model, images, 8)).abs().max()
    assert apart["running"] < 1e-3 < apart["homogeneous"]


def test_a_guarded_model_answers_the_same_from_its_file(
    guarded: Callable[[], Model], digits: tuple[Images, Images], run: Run, tmp_path: Path
) -> None:
    model, test = guarded(), digits[1]
    weights.save(tmp_path / "model.safetensors", model, {})
    again = weights.load(tmp_path / "model.safetensors", "preact_small", vars(model.architecture), run.device)
    assert again.wrapper == model.wrapper and again.protocols == model.protocols
    for protocol in model.protocols[:3]:
        ours, theirs = (predict_under(m, protocol, test.images, test.images[:20], run) for m in (model, again))
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_filter_that_is_off_trains_as_if_it_were_not_there(
    digits: tuple[Images, Images], untrained: Callable[[], Model]
) -> None:
    plain, guarded = untrained(), untrained()
    train(plain, digits[0], plain.recipe, Run("digits", 0))
    off = {"top": "unchanged", "tail": "unchanged", "batch_size": plain.recipe.batch_size}
    guarded = catalog.make("defenses", "eigenguard", off)(poisoned_train=digits[0], model=guarded, run=Run("digits", 0))
    assert torch.equal(logits(plain, digits[1].images), logits(guarded, digits[1].images))


def test_a_stage_that_is_not_there_is_named(untrained: Callable[[], Model]) -> None:
    with pytest.raises(UserError, match="stage is 4; the stages of preact_small: 1, 2, 3"):
        untrained().wrap(Filtered(stage=4))


def test_normalization_is_added_where_none_follows(digits: tuple[Images, Images], run: Run) -> None:
    for last_norm, stage, added in ((True, 3, False), (False, 2, False), (False, 3, True)):
        params = spellings.resolve("models", f"preact_small+width~8+last_norm~{str(last_norm).lower()}")
        model = weights.build("preact_small", params, digits[0].format, run)
        model.wrap(Filtered(stage=stage))
        assert hasattr(getattr(model.network, f"layer{stage}"), "norm") == added
        assert isinstance(getattr(model.network, f"layer{stage}").filter, nn.Module)


@pytest.mark.parametrize("share", [None, 0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("size", [1, 8, 64])
@pytest.mark.parametrize("counts", [(150, 131), (150, 20), (30, 131), (150, 0)])
def test_every_image_is_asked_in_full_batches_of_the_right_share(
    share: float | None, size: int, counts: tuple[int, int]
) -> None:
    test, triggered = (np.random.default_rng(0).permutation(count) for count in counts)
    asked_of = list(protocol_batches(Protocol("p", size, share), test, triggered))
    for place, rows in enumerate((test, triggered)):
        found = np.concatenate([both[place] for both in asked_of])
        assert set(found) == set(rows)
    lengths = {(len(a), len(b)) for a, b in asked_of}
    if share is None or not len(triggered):
        assert lengths <= {(min(size, len(test)), 0), (0, min(size, len(triggered)))}
        return
    ((clean, altered),) = lengths
    assert clean and altered and clean + altered <= max(2, size)
    assert altered == 1 or clean == 1 or abs(altered / (clean + altered) - share) <= 0.5 / (clean + altered) + 1e-9
    assert all(len(set(part)) == len(part) for both in asked_of for part in both)


def test_an_ordinary_model_does_not_care_how_it_is_asked(
    victim: Callable[[], Model], digits: tuple[Images, Images], run: Run
) -> None:
    model, test = victim(), digits[1].images
    triggered = secret(digits[1]).triggered.images
    for protocol in (Protocol("a", 32), Protocol("b", 32, 0.1), Protocol("c", 8, 0.9)):
        answers = predict_under(model, protocol, test, triggered, run)
        for found, images in zip(answers, (test, triggered), strict=True):
            assert (found == predict(model, images)).mean() > 0.99  # sums of another size round differently
