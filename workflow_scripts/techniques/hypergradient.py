"""The gradient of a problem whose variable solves another problem, by the implicit function theorem."""

from collections.abc import Sequence

import torch


def implicit_gradients(
    outer: torch.Tensor,
    descended: torch.Tensor,
    inner: torch.Tensor,
    parameters: Sequence[torch.Tensor],
    iterations: int,
) -> list[torch.Tensor]:
    """Of each parameter θ the gradient of `outer`, a scalar, where δ, `inner`, is what solves a problem that hangs on θ
    (Grazzi, Franceschi, Pontil, Salzo; ICML 2020, arXiv 2006.16218, algorithm 2: fixed point).

    descended: δ after one step Φ(δ, θ) of gradient descent on that problem, with a graph that can be differentiated.
    v ← v ∂Φ/∂δ + ∂outer/∂δ is repeated from 0, which comes to v (1 - ∂Φ/∂δ) = ∂outer/∂δ where Φ contracts; the
    gradient is ∂outer/∂θ + v ∂Φ/∂θ. What neither hangs on has 0.
    """
    first, *direct = torch.autograd.grad(outer, [inner, *parameters], materialize_grads=True)
    v = torch.zeros_like(first)
    for _ in range(iterations):
        (through,) = torch.autograd.grad(descended, inner, v, retain_graph=True)
        v = through + first
    indirect = torch.autograd.grad(descended, list(parameters), v, materialize_grads=True)
    return [own + other for own, other in zip(direct, indirect, strict=True)]
