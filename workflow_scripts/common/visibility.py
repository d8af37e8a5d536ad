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
    """float64 (N,): SSIM of each two uint8 images (N, H, W, C), the mean over channels and over all places of a window
    inside the image (Wang, Bovik, Sheikh, Simoncelli; IEEE Transactions on Image Processing 2004, equation 13). Of an
    image smaller than the window, the window is the largest one of odd side that fits."""
    height, width = first.shape[1:3]
    side = min(WINDOW, height - 1 + height % 2, width - 1 + width % 2)
    rows, columns = (_window_weights(length, side) for length in (height, width))

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


def _window_weights(length: int, side: int) -> np.ndarray:
    """(places, length): row i weighs the pixels of a line under the i-th place of a Gaussian window."""
    weights = np.exp(-((np.arange(side) - side // 2) ** 2) / (2 * SIGMA**2))
    placed = np.zeros((length - side + 1, length))
    for place, row in enumerate(placed):
        row[place : place + side] = weights / weights.sum()
    return placed
