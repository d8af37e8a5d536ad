"""FT-SAM: how far the weights are moved, and that only the gradient there remains."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from workflow_scripts.common.images import Images
from workflow_scripts.defenses.ft_sam import FineTuningSAM, perturb_weights
from workflow_scripts.networks.model import Model, in_float32
from workflow_scripts.training.loader import Batch, to_network


@pytest.fixture
def batch(digits: tuple[Images, Images]) -> Batch:
    data = digits[1][:40]
    return Batch(to_network(torch.from_numpy(data.images)), torch.from_numpy(data.labels), torch.arange(len(data)))


def test_weights_move_by_rho_measured_in_themselves(victim: Callable[[], Model], batch: Batch) -> None:
    model = in_float32(victim())
    F.cross_entropy(model(batch.images), batch.labels).backward()  # type: ignore[no-untyped-call]
    moved = perturb_weights(model, 0.5)
    assert len(moved) == len(list(model.parameters()))
    relative = [((now - before) / before)[before != 0] for now, before in moved]
    assert float(torch.cat(relative).detach().norm()) == pytest.approx(0.5, rel=1e-4)
    assert all((now == before)[before == 0].all() for now, before in moved)
    uphill = sum(float(((now - before) * now.grad).detach().sum()) for now, before in moved if now.grad is not None)
    assert uphill > 0


def test_a_step_leaves_the_gradient_of_the_moved_weights_and_nothing_else(
    victim: Callable[[], Model], batch: Batch
) -> None:
    model, ordinary = in_float32(victim()).train(), in_float32(victim()).train()
    method = FineTuningSAM(rho=0.5, label_smoothing=0.0)
    before = copy.deepcopy(model.network.state_dict())
    F.cross_entropy(ordinary(batch.images), batch.labels).backward()  # type: ignore[no-untyped-call]
    _, loss = method.make_step(model)(batch)
    parameters = dict(model.named_parameters())
    assert all(torch.equal(p, before[name.removeprefix("network.")]) for name, p in parameters.items())
    for one, other in zip(model.buffers(), ordinary.buffers(), strict=True):
        assert torch.equal(one, other), "running statistics see one pass"
    gradients = [p.grad for p in ordinary.parameters() if p.grad is not None]
    norm = torch.cat([(p * g).flatten() for p, g in zip(ordinary.parameters(), gradients, strict=True)]).norm()
    there = {
        name: (p + 0.5 * p**2 * g / norm).detach().requires_grad_()
        for (name, p), g in zip(ordinary.named_parameters(), gradients, strict=True)
    }
    worse = F.cross_entropy(functional_call(ordinary, there, batch.images), batch.labels)
    assert worse > loss
    for wanted, parameter in zip(torch.autograd.grad(worse, list(there.values())), parameters.values(), strict=True):
        assert parameter.grad is not None and torch.allclose(parameter.grad, wanted, rtol=1e-3, atol=1e-5)


def test_labels_are_smoothed_over_the_other_classes(victim: Callable[[], Model], batch: Batch) -> None:
    logits, loss = FineTuningSAM(label_smoothing=0.1).make_step(victim())(batch)
    assert float(loss) == pytest.approx(
        float(F.cross_entropy(logits, batch.labels, label_smoothing=0.1 * 10 / 9)), rel=1e-5
    )
