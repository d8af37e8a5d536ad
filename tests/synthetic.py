"""What the analyses that figures draw might say of one cell: tables of random numbers in their form."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from workflow_scripts.analyses import Measured
from workflow_scripts.common import image_files

LAYERS = {"layer": ["conv1"] * 8 + ["conv2"] * 16, "unit": [*range(8), *range(16)]}


def triggers(rng: np.random.Generator) -> Measured:
    pictures = rng.integers(0, 255, (4, 8, 8, 3), np.uint8)
    columns = {key: image_files.images_to_table(pictures)["image"] for key in ("clean", "poisoned")}
    return pa.table(columns), {"psnr": 20.0, "rms": 3.0, "ssim": 0.9, "shape": [8, 8, 3]}


def neuron_scores(rng: np.random.Generator) -> Measured:
    columns = {key: rng.permutation(24) + 1.0 for key in ("score", "rank", "tac", "tac_rank")}
    return pa.table({**LAYERS, **columns}), {"last": "conv2", "order": str(rng.random())}


def unit_scores(rng: np.random.Generator) -> Measured:
    return pa.table({**LAYERS, "score": rng.random(24), "pruned": rng.random(24) > 0.8}), {"thresholds": {"conv2": 0.8}}


def sweep(rng: np.random.Generator) -> Measured:
    shares = np.array([0, 0.05, 0.1, 0.3, 0.6, 0.9])
    columns = {key: np.sort(rng.random(6))[::-1] for key in ("acc", "asr", "ra")}
    marks = {mark: np.arange(6) == rng.integers(6) for mark in ("own", "blind", "oracle")}
    return pa.table({"share": shares, **columns, **marks}), {"order": str(rng.random())}


def reactivation(rng: np.random.Generator) -> Measured:
    counts = [None, 0, 1, 10, 50]
    columns = {key: np.sort(rng.random(len(counts))) for key in ("acc", "asr", "ra")}
    return pa.table({"poisoned": counts, **columns}), {}


def gradient_norms(rng: np.random.Generator) -> Measured:
    both = {"victim": 2.0, "clean": 1.0}
    summary = {"larger": 0.7, **both}
    columns = {model: rng.random(24) for model in both}
    return pa.table({**LAYERS, **columns}), {"last": summary, "all": summary, "loss": both}


def unlearning(rng: np.random.Generator) -> Measured:
    when = ("before", "after_clean", "after_poison")
    changes = {key: rng.random(24) for key in ("clean", "poison", "control")}
    means = {f"{images}_{model}": rng.random(24) for model in when for images in ("clean", "triggered")}
    rates = dict.fromkeys(when, 0.5)
    layers = {layer: {"spearman": rng.random(), "pearson": 0.5} for layer in ("conv1", "conv2", "all")}
    went = {kind: {"epochs": 9, "kept": 0.2, "stop": 0.1, "notes": {}} for kind in ("clean", "poison")}
    about = {"correlation": {"poison": layers, "control": layers}, "unlearning": went, "acc": rates, "asr": rates}
    return pa.table({**LAYERS, **changes, **means}), about


def feature_rank(rng: np.random.Generator) -> Measured:
    measures = ("effective_rank", "stable_rank", "local_dimension", "accuracy")
    images = ("clean", "triggered")
    rows = [
        {"epoch": e, "images": i, "measure": m, "value": rng.random()}
        for e in range(5)
        for i in images
        for m in measures
    ]
    rows += [{"k": k, "measure": m, "value": rng.random()} for k in (1, 3, 10, 50) for m in ("acc", "asr")]
    keys = ("epoch", "k", "images", "measure", "value")
    return pa.table({key: [row.get(key) for row in rows] for key in keys}), {"stage": 0}


def singular_embedding(rng: np.random.Generator) -> Measured:
    part = ["top"] * 40 + ["rest"] * 40
    places = {"x": rng.normal(size=80), "y": rng.normal(size=80), "label": rng.integers(3, size=80)}
    return pa.table({"part": part, **places, "triggered": rng.random(80) > 0.8}), {"k": 10, "classes": ["a", "b", "c"]}


def flip_energy(rng: np.random.Generator) -> Measured:
    count = 12
    columns = {"arm": ["off", "damped", "unchanged"] * 4, "share": rng.random(count), "weight": np.ones(count)}
    measured = [None, *rng.uniform(0.1, 10, count - 1)]
    return pa.table({**columns, "predicted": measured, "measured": measured}), {"lowest": 0.05, "highest": 20.0}


SYNTHETIC: dict[str, Callable[[np.random.Generator], Measured]] = {
    "triggers": triggers,
    "neuron_scores": neuron_scores,
    "unit_scores": unit_scores,
    "sweep": sweep,
    "reactivation": reactivation,
    "gradient_norms": gradient_norms,
    "unlearning": unlearning,
    "feature_rank": feature_rank,
    "singular_embedding": singular_embedding,
    "flip_energy": flip_energy,
}
"""For each analysis that a figure draws: a table, and what it is about besides the cell's axes."""
