"""Metrics against numbers worked out by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

from workflow_scripts.common import files, spellings
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import ImageFormat
from workflow_scripts.common.visibility import structural_similarity, trigger_visibility
from workflow_scripts.evaluation.checks import Context, Row, failed_checks
from workflow_scripts.evaluation.metrics import der, rates, wilson
from workflow_scripts.evaluation.stale import refuse_stale
from workflow_scripts.training.inference import predict


def judge(label: list[int], target: list[int], prediction: list[int], triggered: list[int]) -> Row:
    return rates(
        np.array(triggered, bool), np.array(label), np.array(target), np.array(prediction), np.zeros(len(label), bool)
    )


def test_acc_asr_and_ra_by_hand() -> None:
    # four test images, three right; five triggered ones, target 0: three taken for 0, one for its own class, one for 2
    row = judge(
        label=[0, 1, 2, 3, 1, 2, 3, 1, 1],
        target=[-2, -2, -2, -2, 0, 0, 0, 0, 0],
        prediction=[0, 1, 2, 0, 0, 0, 0, 1, 2],
        triggered=[0, 0, 0, 0, 1, 1, 1, 1, 1],
    )
    assert (row["acc"], row["acc_n"]) == (0.75, 4)
    assert (row["asr"], row["asr_n"]) == (0.6, 5)
    assert (row["ra"], row["ra_n"]) == (0.2, 5)


def test_all_to_all_by_hand() -> None:
    # every test image is triggered and wanted as y + 1 mod 3; two of three are, the third is taken for its own class
    row = judge(
        label=[0, 1, 2] * 2, target=[-2] * 3 + [1, 2, 0], prediction=[0, 1, 2, 1, 2, 2], triggered=[0] * 3 + [1] * 3
    )
    assert (row["acc"], row["asr"], row["ra"]) == (1.0, 2 / 3, 1 / 3)


def test_no_answer_is_neither_right_nor_the_attackers() -> None:
    row = judge(label=[0, 1, 1], target=[-2, 0, 0], prediction=[-1, -1, -1], triggered=[0, 1, 1])
    assert (row["acc"], row["asr"], row["ra"]) == (0.0, 0.0, 0.0)


def test_without_triggered_images_asr_and_ra_are_null() -> None:
    row = judge(label=[0, 1], target=[-2, -2], prediction=[0, 1], triggered=[0, 0])
    assert (row["asr"], row["asr_n"], row["ra"], row["asr_low"]) == (None, 0, None, None)


class Fixed(torch.nn.Module):
    """Answers with given logits."""

    def __init__(self, answers: list[list[float]]):
        super().__init__()
        self.answers = torch.tensor(answers)
        self.mean = torch.zeros(1)
        self.format = ImageFormat((1, 1, 1), tuple("abc"), (0.0,), (1.0,))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.answers[: len(images)]


def test_ties_and_what_is_not_finite_are_no_class() -> None:
    """A dead network answers the same for all classes: an argmax would call that class 0, the usual target."""
    nan, inf = float("nan"), float("inf")
    model = Fixed([[1, 2, 3], [0, 0, 0], [2, 2, 1], [1, 1, 2], [nan, 1, 2], [inf, 0, 0]])
    assert predict(model, np.zeros((6, 1, 1, 1), np.uint8)).tolist() == [2, -1, -1, 2, -1, -1]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("after", "before", "expected"),
    [
        ((0.9, 0.0), (0.9, 1.0), 1.0),  # all of the attack gone, nothing lost
        ((0.9, 1.0), (0.9, 1.0), 0.5),  # nothing changed
        ((0.8, 0.2), (0.9, 1.0), 0.85),  # (0.8 - 0.1 + 1) / 2
        ((0.95, 0.2), (0.9, 1.0), 0.9),  # a gain of accuracy is not rewarded
        ((0.9, 1.0), (0.9, 0.5), 0.5),  # a risen ASR is not punished
        ((0.0, 1.0), (1.0, 1.0), 0.0),
    ],
)
def test_der_by_hand(after: tuple[float, float], before: tuple[float, float], expected: float) -> None:
    assert der(*after, *before) == pytest.approx(expected)


def test_wilson_against_published_values() -> None:
    # Newcombe (1998), Table I, method 3: 81/263 -> 0.2553, 0.3662; 15/148 -> 0.0624, 0.1605; 0/20 -> 0, 0.1611
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_loudness_by_hand() -> None:
    # two images of four values: one changed by 2 everywhere (mse 4), one not at all
    clean = np.full((2, 2, 2, 1), 100, np.uint8)
    triggered = clean.copy()
    triggered[0] += 2
    found = trigger_visibility(clean, triggered)
    assert found["trigger_psnr"] == pytest.approx(10 * np.log10(255**2 / 4))
    assert found["trigger_rms"] == pytest.approx(1.0)  # (2 + 0) / 2
    steady = (0.01 * 255) ** 2
    assert found["trigger_ssim"] == pytest.approx(((2 * 100 * 102 + steady) / (100**2 + 102**2 + steady) + 1) / 2)


def test_nothing_to_see() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 12, 13, 3), np.uint8)
    found = trigger_visibility(images, images)
    assert (found["trigger_psnr"], found["trigger_rms"]) == (None, 0.0)
    assert found["trigger_ssim"] == pytest.approx(1.0)
    assert set(trigger_visibility(images[:0], images[:0]).values()) == {None}


def one_by_one(first: np.ndarray, second: np.ndarray) -> float:
    """SSIM of two images (H, W), pixel by pixel, as the paper writes it, of what a window has inside the image."""
    height, width = first.shape
    values = []
    for row in range(height):
        for column in range(width):
            near = (slice(max(0, row - 5), row + 6), slice(max(0, column - 5), column + 6))
            down, across = np.mgrid[near[0].start : min(height, row + 6), near[1].start : min(width, column + 6)]
            window = np.exp(-((down - row) ** 2 + (across - column) ** 2) / (2 * 1.5**2))
            window /= window.sum()
            a, b = first[near].astype(float), second[near].astype(float)
            means = (window * a).sum(), (window * b).sum()
            variances = (window * (a - means[0]) ** 2).sum() + (window * (b - means[1]) ** 2).sum()
            covariance = (window * (a - means[0]) * (b - means[1])).sum()
            luminance = (2 * means[0] * means[1] + 6.5025) / (means[0] ** 2 + means[1] ** 2 + 6.5025)
            values.append(luminance * (2 * covariance + 58.5225) / (variances + 58.5225))
    return float(np.mean(values))


@pytest.mark.parametrize(("height", "width"), [(16, 14), (11, 30), (8, 20), (20, 3), (1, 1)])
def test_structural_similarity_pixel_by_pixel(height: int, width: int) -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 256, (2, height, width, 3), np.uint8)
    second = np.clip(first.astype(int) + rng.integers(-60, 60, first.shape), 0, 255).astype(np.uint8)
    expected = [np.mean([one_by_one(first[n, ..., c], second[n, ..., c]) for c in range(3)]) for n in range(2)]
    assert structural_similarity(first, second) == pytest.approx(np.array(expected), rel=1e-9)
    assert structural_similarity(second, first) == pytest.approx(np.array(expected), rel=1e-9)


def test_a_trigger_in_a_corner_is_seen_as_one_in_the_middle_is() -> None:
    clean = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 1), np.uint8)
    corner, middle = clean.copy(), clean.copy()
    corner[:, -3:, -3:], middle[:, 6:9, 6:9] = 255, 255
    seen, plain = (1 - structural_similarity(clean, changed)[0] for changed in (corner, middle))
    assert 0.5 < seen / plain < 2


def test_structural_similarity_knows_structure() -> None:
    """Of two changes of equal squared error, the one that changes the mean alone is the more alike."""
    image = np.random.default_rng(0).integers(60, 196, (1, 16, 16, 1), np.uint8)
    shifted, noisy = image + 20, image + np.random.default_rng(1).choice([-20, 20], image.shape)
    brighter, inverted = (structural_similarity(image, x.astype(np.uint8))[0] for x in (shifted, 255 - image))
    assert inverted < 0 < structural_similarity(image, noisy.astype(np.uint8))[0] < brighter < 1


def row(acc: float, asr: float, **more: object) -> Row:
    base = {
        "classes": 10,
        "control": False,
        "pruned_share": None,
        "pruned_layers": None,
        "finetune_epochs": None,
        "reason": None,
    }
    return {**base, "acc": acc, "asr": asr, "der": 0.5, **more}


def context(seeds: int = 3, **more: object) -> Context:
    good = {"undefended": row(0.95, 1.0), "clean": row(0.95, 0.0), "floor": row(0.95, 0.01)}
    return Context(**{**good, **more}, seeds=seeds)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("judged", "against", "expected"),
    [
        (row(0.95, 0.0), context(), []),
        (row(0.95, 0.0), context(undefended=row(0.95, 0.5)), ["not_implanted"]),
        (row(0.95, 0.0), context(undefended=row(0.95, 0.51)), []),
        (row(0.85, 0.0), context(), ["collapsed"]),
        (row(0.86, 0.0), context(undefended=row(0.97, 1.0)), ["broke_model"]),
        (row(0.95, 0.0), context(seeds=2), ["few_seeds"]),
        (row(0.95, 0.0, reason="loss"), context(), ["diverged"]),
        (row(0.70, 0.0), context(clean=row(0.74, 0.0), reference=0.93), ["weak_clean_model", "broke_model"]),
        (row(0.70, 0.0), context(clean=row(0.74, 0.0), reference=0.90), ["broke_model"]),
        (row(0.19, 0.0), context(clean=row(0.19, 0.0), undefended=row(0.19, 1.0)), ["weak_clean_model"]),
        (row(0.21, 0.0), context(clean=row(0.21, 0.0), undefended=row(0.21, 1.0)), []),
        (row(0.74, 0.0, classes=2), context(clean=row(0.74, 0.0), undefended=row(0.74, 1.0)), ["weak_clean_model"]),
    ],
)
def test_checks(judged: Row, against: Context, expected: list[str]) -> None:
    assert failed_checks(judged, against) == expected


def test_only_what_was_written_since_its_cell_is_hashed_again(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"weights")
    row = {"made": {}, "digests": {"model": files.sha256(tmp_path / "model")}}
    written = max((tmp_path / "model").stat().st_mtime, (tmp_path / "model").stat().st_ctime)
    refuse_stale([{**row, "digests": {"model": "another"}}], {}, {"model": written + 1}, str(tmp_path))
    refuse_stale([row], {}, {"model": written - 1}, str(tmp_path))
    with pytest.raises(UserError, match="model is stale"):
        refuse_stale([{**row, "digests": {"model": "another"}}], {}, {"model": written - 1}, str(tmp_path))


def test_a_cell_made_of_other_files_than_its_neighbors_is_stale(tmp_path: Path) -> None:
    """Whichever of the two is read last."""
    old, new = ({"made": {"truth": by}, "digests": {"truth": by}} for by in ("old", "new"))
    for rows in ([old, new], [new, old]):
        with pytest.raises(UserError, match="truth is stale"):
            refuse_stale([{**row, "digests": {}} for row in rows], {"truth": "new"}, {}, str(tmp_path))
        with pytest.raises(UserError, match="truth is stale"):
            refuse_stale([{**row, "made": {}} for row in rows], {}, {"truth": 0.0}, str(tmp_path))
    refuse_stale([new, new], {"truth": "new"}, {"truth": 0.0}, str(tmp_path))


def test_pruning_is_held_against_itself_at_random_over_seeds() -> None:
    def verdict(*ders: tuple[float, float], share: float = 0.1) -> bool:
        pairs = [(row(0.95, 0.0, pruned_share=share, der=own), row(0.9, 0.5, der=other)) for own, other in ders]
        judged = row(0.95, 0.0, pruned_share=share, der=0.6)
        return "no_better_than_random" in failed_checks(judged, context(random=pairs))

    assert not verdict(), "without such a control nothing is said"
    assert verdict((0.9, 0.9), (0.8, 0.8)) and not verdict((0.9, 0.7), (0.8, 0.9)), "the mean of the differences counts"
    assert verdict((0.9, 0.7), (0.6, 0.9))
    assert not verdict((0.5, 0.6), share=0.0), "what prunes nothing is not judged"


def test_a_defense_and_itself_at_random() -> None:
    assert spellings.at_random("tsbd+n~0.3") == "tsbd+n~0.3+selection~random" and spellings.at_random("ft") is None
    assert spellings.is_control("clp+selection~random") and not spellings.is_control("clp+u~2.0")
    assert spellings.at_random("clp+selection~random") is None
