"""How much of a trigger is to be seen: measures of the change from clean to triggered images."""

import numpy as np

WINDOW, SIGMA = 11, 1.5
"""Pixels a side of SSIM's window, and the standard deviation of its Gaussian, in pixels."""
STABLE = (0.01 * 255) ** 2, (0.03 * 255) ** 2
"""Of means and of variances: what keeps SSIM's fractions from 0/0."""


def trigger_visibility(clean: np.ndarray, triggered: np.ndarray) -> dict[str, float | None]:
    """PSNR (dB, peak 255), RMS (0-255) and SSIM (at most 1) of uint8 images (N, H, W, C), means over the images;
    unchanged ones have no PSNR."""
    error = np.square(triggered.astype(np.float64) - clean).mean(axis=(1, 2, 3))
    changed = error[error > 0]
    return {
        "trigger_psnr": float((10 * np.log10(255**2 / changed)).mean()) if len(changed) else None,
        "trigger_rms": float(np.sqrt(error).mean()) if len(error) else None,
        "trigger_ssim": float(structural_similarity(clean, triggered).mean()) if len(error) else None,
    }


def structural_similarity(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """float64 (N,): SSIM of each two uint8 images (N, H, W, C), the mean over channels and over a window around each
    pixel (Wang, Bovik, Sheikh, Simoncelli; IEEE Transactions on Image Processing 2004, equation 13).

    Difference: windows reach over the border, where they weigh what there is; those inside the image alone, as the
    authors have it, hardly see a trigger in a corner, and at 16 pixels next to nothing of it.
    """
    rows, columns = (_window_weights(length) for length in first.shape[1:3])

    def smooth(values: np.ndarray) -> np.ndarray:
        return np.asarray(rows @ values @ columns.T)

    found = np.empty(len(first))
    for place, pair in enumerate(zip(first, second, strict=True)):
        a, b = (np.moveaxis(image, 2, 0).astype(np.float64, order="C") for image in pair)
        mean_a, mean_b = smooth(a), smooth(b)
        squares, product = mean_a**2 + mean_b**2, mean_a * mean_b
        spread, common = smooth(a**2 + b**2) - squares, smooth(a * b) - product
        similar = (2 * product + STABLE[0]) * (2 * common + STABLE[1])
        found[place] = (similar / ((squares + STABLE[0]) * (spread + STABLE[1]))).mean()
    return found


def _window_weights(length: int) -> np.ndarray:
    """(length, length): row i weighs the pixels of a line under a Gaussian window around pixel i."""
    apart = np.abs(np.arange(length)[:, None] - np.arange(length))
    weights = np.where(apart <= WINDOW // 2, np.exp(-(apart**2) / (2 * SIGMA**2)), 0.0)
    return np.asarray(weights / weights.sum(1, keepdims=True))
