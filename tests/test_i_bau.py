"""I-BAU: the implicit gradient, the change that is searched, and what a step leaves alone."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from conftest import tiny

from workflow_scripts.common import catalog
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses.i_bau import ImplicitUnlearning
from workflow_scripts.networks.model import Model
from workflow_scripts.techniques.hypergradient import implicit_gradients
from workflow_scripts.training.loader import to_network

Make = Callable[[], Model]
ARCHITECTURES = [
    name for name in catalog.list_methods("models") if catalog.describe("models", name).traits["classifies"]
]


def test_the_gradient_is_that_through_the_inner_solution() -> None:
    """Of a quadratic problem, δ* = A⁻¹ B θ, whose gradient is known."""
    stream = torch.Generator().manual_seed(0)
    root, mixed = (torch.randn(shape, generator=stream, dtype=torch.float64) for shape in ((4, 4), (4, 3)))
    matrix, aim = root @ root.T + torch.eye(4), torch.ones(4, dtype=torch.float64)
    theta = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    unused = torch.zeros(2, dtype=torch.float64, requires_grad=True)

    def outer(delta: torch.Tensor) -> torch.Tensor:
        return (delta - aim).square().sum() + theta.square().sum() * delta.sum()

    (expected,) = torch.autograd.grad(outer(torch.linalg.solve(matrix, mixed @ theta)), theta)
    delta = torch.linalg.solve(matrix, mixed @ theta).detach().requires_grad_()
    loss = delta @ matrix @ delta / 2 - delta @ mixed @ theta
    (slope,) = torch.autograd.grad(loss, delta, create_graph=True)
    descended = delta - slope / torch.linalg.matrix_norm(matrix, 2)
    found, nothing = implicit_gradients(outer(delta), descended, delta, [theta, unused], 1000)
    assert torch.allclose(found, expected, rtol=1e-6) and not nothing.any()


@pytest.mark.parametrize("radius", [0.5, 100.0])
def test_the_change_stays_in_its_ball_and_misleads(
    radius: float, victim: Make, digits: tuple[Images, Images], run: Run
) -> None:
    model, method = victim(), ImplicitUnlearning(radius=radius, batch_size=20)
    change = method.search(model, digits[0][:80], run, "search")
    length = float(change.norm())
    assert length <= radius * (1 + 1e-5) and (length > 0.99 * radius or radius == 100)
    images, labels = to_network(torch.from_numpy(digits[1].images)) / 255, torch.from_numpy(digits[1].labels)
    before, after = (F.cross_entropy(model(moved), labels) for moved in (images, (images + change).clamp(0, 1)))
    assert after > before + 0.01
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_can_be_differentiated_twice(name: str, digits: tuple[Images, Images], run: Run) -> None:
    before, model = (tiny(name, digits[0].format) for _ in range(2))
    model = ImplicitUnlearning(rounds=1, batch_size=16)(model, digits[0][:16], run)
    statistics = dict(model.network.named_buffers())
    assert all(torch.equal(value, statistics[key]) for key, value in before.network.named_buffers())
    moved = [
        not torch.equal(value, before.network.state_dict()[key]) for key, value in model.network.named_parameters()
    ]
    assert sum(moved) > len(moved) / 2 and "diverged" not in run.notes


def test_at_least_one_image_carries_the_change(
    victim: Make, digits: tuple[Images, Images], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no share of images that carry it the outer loss would not hang on the change."""
    slopes: list[float] = []

    def spy(outer: torch.Tensor, descended: torch.Tensor, inner: torch.Tensor, *rest: object) -> list[torch.Tensor]:
        (slope,) = torch.autograd.grad(outer, inner, retain_graph=True)
        slopes.append(float(slope.abs().sum()))
        return [torch.zeros_like(value) for value in rest[0]]  # type: ignore[attr-defined]

    monkeypatch.setattr("workflow_scripts.defenses.i_bau.implicit_gradients", spy)
    ImplicitUnlearning(rounds=2, batch_size=40, share=1e-6)(victim(), digits[0][:80], run)
    assert len(slopes) == 4 and min(slopes) > 0
