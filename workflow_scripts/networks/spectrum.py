"""A filter of the spectrum of a batch of activations, as a module that goes into any network."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from workflow_scripts.common.fields import Count, NonNegative

FLOOR = 1e-6
"""Directions with singular values up to this share of the largest are float32's rounding: the batch lacks them."""
TIE = 1e-4
"""Eigenvalues nearer to each other across the cut than this share of the k-th have next to no gradient between them."""
MOMENTUM = 0.1
"""Weight of the newest batch in the running basis, as batch normalization has it."""


@dataclass(frozen=True)
class Spectrum:
    """What happens to the singular values σ_1 ≥ σ_2 ≥ … of a batch of B activations, a matrix of one row per image.

    stage: whose output is filtered, `layer{stage}` of the network.
    k: how many are the top, at most the batch's rank.
    top: the first k become σ_k (`leveled`) or 0 (`removed`), or stay. tail: the others become tail_factor · σ_k
    (`damped`; removed at 0), or stay. With both unchanged the filter is off.
    gradient: `detached` takes the filter for a constant matrix, `full` differentiates it.
    norm: batch normalization after the filter; `auto` puts it where the network has none further on.
    batch_size: images filtered together, in training and when the model is asked.
    sweep: ask also in batches of other sizes, and with other shares of triggered images.
    """

    stage: Count = 3
    k: Count = 10
    top: Literal["leveled", "removed", "unchanged"] = "leveled"
    tail: Literal["damped", "unchanged"] = "damped"
    tail_factor: NonNegative = 0.001
    gradient: Literal["detached", "full"] = "detached"
    norm: Literal["auto", "always", "never"] = "auto"
    batch_size: Count = 128
    sweep: bool = False

    @property
    def off(self) -> bool:
        """Whether nothing is filtered."""
        return self.top == self.tail == "unchanged"

    def gains(self, sigma: torch.Tensor, k: int) -> torch.Tensor:
        """(R,) factors of descending singular values (R,), infinite where a direction is missing; the first k are the
        top."""
        top, tail = self.slopes(sigma[k - 1])
        kept = torch.ones_like(sigma)
        kept[:k] *= self.top == "unchanged"
        kept[k:] *= self.tail == "unchanged"
        return kept + torch.cat([top / sigma[:k], tail / sigma[k:]])

    def slopes(self, strength: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the singular values of the top and of the tail become, given σ_k; 0 where it is not a new value."""
        damped = self.tail_factor if self.tail == "damped" else 0.0
        return strength * float(self.top == "leveled"), strength * damped


class SpectralFilter(nn.Module):
    """U Σ' Vᵀ of a batch U Σ Vᵀ, without V: M X with M = U diag(σ' / σ) Uᵀ, U and σ² from the Gram matrix X Xᵀ.

    The Gram matrix and M are float64 whatever the rest is: σ² has twice the digits of σ, and float32 loses the tail
    (benchmarks/gram.md). The answer to an image hangs on its batch, also in evaluation mode, unless `running` is set:
    then the directions and strengths that training saw, averaged exponentially, filter every image by itself.

    Args:
        width: activations of one image, C · H · W.
    """

    directions: torch.Tensor
    remainder: torch.Tensor

    def __init__(self, spectrum: Spectrum, width: int):
        super().__init__()
        self.spectrum, self.running = spectrum, False
        self.register_buffer("directions", torch.zeros(min(spectrum.k, width), width))
        self.register_buffer("remainder", torch.zeros(()))

    def forward(self, activations: torch.Tensor) -> torch.Tensor:
        """float32 of the shape of `activations` (B, C, …): bfloat16 would round a damped tail away."""
        if self.spectrum.off:
            return activations
        channels_last = activations.movedim(1, -1)
        rows = channels_last.flatten(1).float()
        with torch.autocast(rows.device.type, enabled=False):
            filtered = self._by_basis(rows) if self.running else self._by_batch(rows)
        return filtered.view(channels_last.shape).movedim(-1, 1)

    def _by_batch(self, rows: torch.Tensor) -> torch.Tensor:
        gram = gram_matrix(rows)
        if not 0 < float(gram.detach().trace()) < torch.inf:
            return rows  # nothing to filter, or training has diverged and its loss will say so
        full = self.spectrum.gradient == "full"
        matrix, basis, sigma = GramFilter.apply(gram if full else gram.detach(), self.spectrum)
        if self.training:
            self._remember(rows.detach(), basis, sigma)
        return matrix.float() @ rows

    @torch.no_grad()
    def _remember(self, rows: torch.Tensor, basis: torch.Tensor, sigma: torch.Tensor) -> None:
        """Average the second moments of the batches' top parts, of which `directions` are the principal axes."""
        k = _count_present(sigma, self.spectrum.k)
        newest = basis[:, :k].T.float() @ rows * (MOMENTUM / len(rows)) ** 0.5
        both = torch.cat([self.directions * (1 - MOMENTUM) ** 0.5, newest])
        axes = torch.linalg.eigh(gram_matrix(both))[1].flip(1)[:, : len(self.directions)]
        self.directions.copy_(axes.T.float() @ both)
        rest = sigma[k : _count_present(sigma)].square()
        if len(rest):
            self.remainder.lerp_((rest.mean() / len(rows)).float(), MOMENTUM)

    def _by_basis(self, rows: torch.Tensor) -> torch.Tensor:
        lengths = _mask_missing(self.directions.norm(dim=1))
        sigma = _mask_missing(torch.cat([lengths.nan_to_num(posinf=0), self.remainder.sqrt()[None]]))
        gains = self.spectrum.gains(sigma, _count_present(lengths))
        basis = self.directions / lengths[:, None]
        return gains[-1] * rows + (rows @ basis.T * (gains[:-1] - gains[-1])) @ basis


def gram_matrix(rows: torch.Tensor) -> torch.Tensor:
    """float64 X Xᵀ (B, B) of rows (B, D): it keeps as many digits of the singular values as float32 rows have."""
    wide = rows.double()
    return wide @ wide.T


def _mask_missing(sigma: torch.Tensor) -> torch.Tensor:
    """Singular values, infinite where they are nothing but rounding: a gain c / σ is 0 there."""
    return torch.where(sigma > FLOOR * sigma[0], sigma, torch.inf)


def _count_present(sigma: torch.Tensor, most: int | None = None) -> int:
    """How many directions there are, at most `most`."""
    return int(torch.isfinite(sigma[:most]).sum())


class GramFilter(torch.autograd.Function):
    """The filter matrix M (B, B) of a Gram matrix (B, B), with its basis U (B, B) and singular values (B,), infinite
    where there are none.

    Backward is the derivative of a function of a symmetric matrix (Daleckii and Krein 1965; Bhatia, Matrix Analysis,
    1997, theorem V.3.3): U (F ∘ Uᵀ dM U) Uᵀ, F the divided differences of the gains. On either side of the cut gains
    are c / σ, whose F = -c / (σ_i σ_j (σ_i + σ_j)) has no pole where two directions tie. Across the cut the filter
    itself jumps at a tie; there the gradient is 0.
    """

    @staticmethod
    def forward(ctx: Any, gram: torch.Tensor, spectrum: Spectrum) -> tuple[torch.Tensor, ...]:
        values, basis = torch.linalg.eigh(gram)
        sigma, basis = _mask_missing(values.flip(0).clamp(min=0).sqrt()), basis.flip(1)
        ctx.spectrum, ctx.k = spectrum, _count_present(sigma, spectrum.k)
        gains = spectrum.gains(sigma, ctx.k)
        ctx.save_for_backward(basis, sigma, gains)
        ctx.mark_non_differentiable(basis, sigma)
        return (basis * gains) @ basis.T, basis, sigma

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        basis, sigma, gains = ctx.saved_tensors
        k, strength = ctx.k, sigma[ctx.k - 1]
        inside = basis.T @ (gradients[0] + gradients[0].T) @ basis / 2
        top, tail = ctx.spectrum.slopes(torch.ones_like(strength))
        change = torch.cat([top / sigma[:k], tail / sigma[k:]])  # of the gains with σ_k
        through = inside * _divide_differences(sigma, gains, change * strength, k)
        through[k - 1, k - 1] += (inside.diagonal() @ change) / (2 * strength)
        return basis @ through @ basis.T, None


def _divide_differences(sigma: torch.Tensor, gains: torch.Tensor, scaled: torch.Tensor, k: int) -> torch.Tensor:
    """(g_i - g_j) / (σ_i² - σ_j²) with σ_k held fixed; `scaled` is the part c / σ of the gains."""
    missing = torch.isinf(sigma)
    group = (torch.arange(len(sigma), device=sigma.device) >= k).long() + missing
    beside = -scaled[:, None] / (sigma * (sigma[:, None] + sigma))
    squares = sigma.masked_fill(missing, 0).square()
    gap = squares[:, None] - squares
    tie = (TIE * squares[k - 1]) * ~(missing[:, None] | missing)
    across = (gains[:, None] - gains) * gap / (gap.square() + tie.square())
    return torch.where(group[:, None] == group, beside, across)
