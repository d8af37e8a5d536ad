"""How fast the Gram form of the spectral filter is against the singular value decomposition, and how near to it.

python -m benchmarks.gram > benchmarks/gram.md
"""

import time
from collections.abc import Callable

import torch

from workflow_scripts.jobs.step import step
from workflow_scripts.networks.spectrum import SpectralFilter, Spectrum

BATCH, SHAPES, ROUNDS = 128, ((512, 4, 4), (64, 32, 32)), 5
MODES = {"forward": False, "forward + backward": True}


def main() -> None:
    """Print the tables as Markdown."""
    with step(threads=1):
        print("# The spectral filter: Gram form against SVD\n")
        print(f"`python -m benchmarks.gram`, B = {BATCH}, k = 10, float32 activations, one thread of two cores (x86,")
        print(f"shared with other work), torch {torch.__version__}, 2026-11-21: the least CPU time of {ROUNDS}")
        print("interleaved rounds, in ms.\n")
        print("| activations | what | SVD | Gram, detached | faster | Gram, full gradient | faster |")
        print("|---|---|---|---|---|---|---|")
        for shape in SHAPES:
            for mode, backward in MODES.items():
                svd, detached, full = least(contestants(shape, backward))
                name = "x".join(map(str, shape))
                print(f"| {name} | {mode} | {svd:.0f} | {detached:.0f} | {svd / detached:.1f}x ", end="")
                print(f"| {full:.0f} | {svd / full:.1f}x |")
        print("\nRelative error of the output, in Frobenius norm, against an SVD in float64 (512x4x4, singular values")
        print("that fall geometrically from 1): why the Gram matrix is float64.\n")
        print("| smallest singular value | SVD, float32 | Gram, float32 | Gram, float64 |\n|---|---|---|---|")
        for digits in (1, 2, 3, 4):
            print(f"| 1e-{digits} | " + " | ".join(f"{error:.0e}" for error in errors(10.0**-digits)) + " |")


def contestants(shape: tuple[int, int, int], backward: bool) -> list[Callable[[], object]]:
    """One call of each form, on the same random activations."""
    rows = torch.randn(BATCH, *shape, generator=torch.Generator().manual_seed(0)).requires_grad_(backward)
    width = rows[0].numel()
    forms: list[Callable[[torch.Tensor], torch.Tensor]] = [
        lambda x: by_svd(x.flatten(1), Spectrum()).view_as(x),
        SpectralFilter(Spectrum(), width).eval(),
        SpectralFilter(Spectrum(gradient="full"), width).eval(),
    ]

    def call(form: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(form(rows).square().sum(), rows) if backward else form(rows)

    return [call(form) for form in forms]


def by_svd(rows: torch.Tensor, spectrum: Spectrum) -> torch.Tensor:
    """The filter as the paper writes it: U Σ' Vᵀ of rows (B, D)."""
    basis, sigma, directions = torch.linalg.svd(rows, full_matrices=False)
    return basis * (spectrum.gains(sigma, spectrum.k) * sigma) @ directions


def by_gram(rows: torch.Tensor, spectrum: Spectrum, dtype: torch.dtype) -> torch.Tensor:
    """The Gram form with all of its decomposition in one precision."""
    wide = rows.to(dtype)
    values, basis = torch.linalg.eigh(wide @ wide.T)
    sigma = values.clamp(min=0).sqrt().flip(0)
    gains = spectrum.gains(sigma.clamp(min=1e-6 * float(sigma[0])), spectrum.k)
    basis = basis.flip(1)
    return ((basis * gains) @ basis.T).to(rows.dtype) @ rows


def least(calls: list[Callable[[], object]]) -> list[float]:
    """The least CPU milliseconds of each call."""
    found: list[list[float]] = [[] for _ in calls]
    for _ in range(ROUNDS):
        for call, times in zip(calls, found, strict=True):
            started = time.process_time()
            call()
            times.append(1000 * (time.process_time() - started))
    return [min(times) for times in found]


def errors(smallest: float) -> list[float]:
    """Of three forms on activations of a known spectrum."""
    generator, width = torch.Generator().manual_seed(0), 512 * 16
    sides = [torch.randn(n, BATCH, generator=generator, dtype=torch.float64) for n in (BATCH, width)]
    left, right = (torch.linalg.qr(side)[0] for side in sides)
    sigma = smallest ** torch.linspace(0, 1, BATCH, dtype=torch.float64)
    exact = (left * sigma) @ right.T
    wanted, rows = by_svd(exact, Spectrum()), exact.float()
    found = [by_svd(rows, Spectrum()), *(by_gram(rows, Spectrum(), d) for d in (torch.float32, torch.float64))]
    return [float((f - wanted).norm() / wanted.norm()) for f in found]


if __name__ == "__main__":
    main()
