"""The battery over every detector of the catalog, what `filter` makes of a verdict, and spectral signatures by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Hand, poisoned, quick

from workflow_scripts.common import catalog, scores
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.common.scores import Scores
from workflow_scripts.detectors.ss import score_signatures
from workflow_scripts.networks.model import Model
from workflow_scripts.training.loop import train as fit

DETECTORS = catalog.list_methods("detectors")


@pytest.mark.parametrize("name", DETECTORS)
def test_a_verdict_on_every_published_image_twice_the_same(name: str, hand: Hand, tmp_path: Path) -> None:
    first, second = (quick("detectors", name)(**hand("detectors", name)) for _ in range(2))
    data = hand("detectors", name)["poisoned_train"]
    assert np.array_equal(first.index, data.index) and np.isfinite(first.score).all()
    assert first.flagged.dtype == bool and not first.flagged.all()
    assert min(first.score[first.flagged], default=np.inf) > np.median(first.score)
    scores.write(str(tmp_path / "scores.parquet"), first, {})
    kept = scores.read(str(tmp_path / "scores.parquet"))
    for key in ("index", "score", "flagged"):
        assert np.array_equal(getattr(first, key), getattr(second, key))
        assert np.array_equal(getattr(first, key), getattr(kept, key))


@pytest.mark.parametrize("name", DETECTORS)
def test_no_detector_may_see_the_truth(name: str) -> None:
    assert not {"truth", "test", "train", "clean_victim"} & set(catalog.describe("detectors", name).asks)


def test_signatures_are_the_squared_part_along_the_first_direction() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 5)) + 3.0
    features[:4] += 9 * np.eye(5)[2]
    centered = features - features.mean(0)
    direction = np.linalg.eigh(centered.T @ centered)[1][:, -1]
    found = score_signatures(torch.from_numpy(features))
    assert np.allclose(found, (centered @ direction) ** 2)
    assert set(np.argsort(-found)[:4]) == {0, 1, 2, 3}


def test_ss_flags_one_and_a_half_times_the_share_in_every_class(hand: Hand) -> None:
    given = hand("detectors", "ss")
    found = catalog.make("detectors", "ss", {"poisoned": 0.2})(**given)
    labels = given["poisoned_train"].labels
    for label in np.unique(labels):
        inside = labels == label
        assert found.flagged[inside].sum() == round(1.5 * 0.2 * inside.sum())
        assert found.score[inside & found.flagged].min() >= found.score[inside & ~found.flagged].max()


def test_filter_trains_on_what_is_not_flagged(
    hand: Hand, digits: tuple[Images, Images], untrained: Callable[[], Model]
) -> None:
    run, data = Run("digits", 0), poisoned(digits[0])
    flagged = np.arange(len(data)) % 5 == 0
    verdict = Scores(data.index, flagged.astype(float), flagged)
    model = catalog.make("defenses", "filter", {})(**hand("defenses", "filter", by=verdict, run=run))
    expected = untrained()
    fit(expected, data[~flagged], expected.recipe, Run("digits", 0))
    for key, value in expected.network.state_dict().items():
        assert torch.equal(value, model.network.state_dict()[key]), key
    assert run.notes["removed_share"] == pytest.approx(0.2)
    with pytest.raises(UserError, match="ss flags every image"):
        everything = Scores(data.index, np.ones(len(data)), np.ones(len(data), bool))
        catalog.make("defenses", "filter", {})(**hand("defenses", "filter", by=everything))
