"""EigenGuard's theory against its filter: at which energy of its trigger does a prediction flip?"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from workflow_scripts.analyses import Analysis, Measured
from workflow_scripts.common.fields import Count, NonNegative, PositiveShare
from workflow_scripts.common.run import Run
from workflow_scripts.networks.spectrum import SpectralFilter, Spectrum

SHARES = (0.02, 0.05, 0.1, 0.2, 0.5, 0.8)
WEIGHTS = (0.25, 0.5, 1.0, 2.0)
AMPLITUDES = np.geomspace(0.05, 20, 60)
ARMS = {
    "off": Spectrum(top="unchanged", tail="unchanged"),
    "damped": Spectrum(),
    "unchanged": Spectrum(tail="unchanged"),
}


@dataclass(frozen=True)
class FlipEnergy(Analysis):
    """Two orthogonal subspaces: natural directions v_1 … v_n and a trigger direction t. An image of class y = ±1 is
    Σ_j a_j s_j v_j + e z t + noise, s_1 = y, the other s_j = ±1 at random, a_j falling from a_1 = 1, z = 1 for a share
    ρ of either class, otherwise 0. A linear model says the sign of x · (v_1 - c t): a triggered image of class +1 flips
    when the trigger outweighs v_1, without a filter at e = a_1 / c. (e is the trigger's amplitude, e² its energy.)

    In a batch of B the singular values are a_j √B and e √(ρB), and levelling makes their ratio of coefficients
    1 : 1/√ρ whatever e was, for ρB images share what all B share of v_1. So, with k of n directions at the top:

    - c ≤ √ρ: never. In the top e has canceled out; below the top it is smaller still (e < a_k / √ρ ≤ a_k / c).
    - c > √ρ, tail damped by τ: when the trigger enters the top, at e = a_k / √ρ; before it is τ a_k / √ρ, which flips
      alone only if c τ > √ρ.
    - c > √ρ, tail unchanged: at e = a_k / c, before it enters the top: earlier than without a filter, for v_1 is
      lowered from a_1 to a_k and the trigger is not.

    Measured: the smallest of `AMPLITUDES` at which half of the triggered images of class +1 flip behind the filter
    itself. Rows of arm, share (ρ), weight (c), draw, predicted, measured (null: never).

    dimension: of the space; natural: n; noise: standard deviation of every coordinate; decay: a_(j+1) / a_j;
    batch_size: B; draws: of each share.
    """

    batch_size: Count = 128
    dimension: Count = 512
    natural: Count = 8
    k: Count = 5
    decay: PositiveShare = 0.8
    noise: NonNegative = 0.01
    draws: Count = 3

    def __call__(self, run: Run) -> Measured:
        rows = []
        for draw in range(self.draws):
            for share in SHARES:
                rng = run.numpy_rng(f"flip energy/{draw}/{share}")
                for arm in ARMS:
                    rows += [{"arm": arm, "draw": draw, **row} for row in self._rows(arm, share, rng)]
        return pa.Table.from_pylist(rows), {"k": self.k, "lowest": AMPLITUDES[0], "highest": AMPLITUDES[-1]}

    def predict(self, arm: str, share: float, weight: float) -> float | None:
        """The amplitude at which a triggered image flips; None: at none."""
        weakest = self.decay ** (min(self.k, self.natural) - 1)  # a_k
        root = math.sqrt(share)
        if arm == "off":
            return 1 / weight
        if weight <= root:
            return None
        return weakest / root if arm == "damped" else weakest / weight

    def _rows(self, arm: str, share: float, rng: np.random.Generator) -> list[dict[str, Any]]:
        natural, triggered = self._batch(share, rng)
        module = SpectralFilter(replace(ARMS[arm], k=min(self.k, self.natural)), self.dimension).eval()
        watched = triggered & (natural[:, 0] > 0)
        flipped = np.zeros((len(AMPLITUDES), len(WEIGHTS)), bool)
        for i, amplitude in enumerate(AMPLITUDES):
            images = natural.copy()
            images[triggered, -1] += amplitude  # t is the last coordinate, v_j the j-th
            seen = module(torch.from_numpy(images)).numpy()[watched]
            flipped[i] = [np.median(seen[:, 0] - weight * seen[:, -1]) < 0 for weight in WEIGHTS]
        exact = float(triggered.mean())
        return [
            {
                "share": exact,
                "weight": weight,
                "predicted": self.predict(arm, exact, weight),
                "measured": float(AMPLITUDES[flipped[:, j].argmax()]) if flipped[:, j].any() else None,
            }
            for j, weight in enumerate(WEIGHTS)
        ]

    def _batch(self, share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """float32 images (B, dimension) without the trigger, and which are to have it: as many of either class."""
        half = self.batch_size // 2
        signs = rng.choice([-1.0, 1.0], (2 * half, self.natural))
        signs[:, 0] = np.repeat([-1.0, 1.0], half)
        images = self.noise * rng.standard_normal((2 * half, self.dimension))
        images[:, : self.natural] += signs * self.decay ** np.arange(self.natural)
        triggered = np.arange(2 * half) % half < max(1, round(share * half))
        return images.astype(np.float32), triggered
