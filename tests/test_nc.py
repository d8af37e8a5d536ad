"""Neural Cleanse: how triggers are searched, which classes stand out, and what is unlearned."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from workflow_scripts.common import catalog
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses.nc import NeuralCleanse, anomaly_indices
from workflow_scripts.networks.model import Model, in_float32
from workflow_scripts.techniques.inversion import STALLED, Inversion, ReversedTrigger, Search

Make = Callable[[], Model]
HOW = Inversion(epochs=40, lr=0.1, batch_size=40, cost=1e-3, success=0.99, patience=5)


def test_the_index_is_the_distance_below_the_median_by_the_median_deviation() -> None:
    assert anomaly_indices([10, 14, 12, 8, 1]) == pytest.approx([i / (1.4826 * 2) for i in (0, -4, -2, 2, 9)], abs=1e-9)
    assert anomaly_indices([7, 9, 10, 14])[0] == pytest.approx(2.5 / (1.4826 * 1.5)), "the mean of the middle two"


def test_norms_that_are_all_alike_flag_nothing() -> None:
    assert anomaly_indices([5.0] * 4) == [0, 0, 0, 0]
    assert anomaly_indices([5.0, 5, 5, 1])[3] == math.inf


def test_a_stamp_is_the_pattern_as_far_as_the_mask_lets_it_through(digits: tuple[Images, Images]) -> None:
    images, stream = digits[0].images[:5], torch.Generator().manual_seed(0)
    channels = images.shape[3]
    mask, pattern = torch.rand(1, 16, 16, generator=stream), torch.rand(channels, 16, 16, generator=stream)
    mask[0, 0, 0], mask[0, 0, 1] = 0, 1
    trigger = ReversedTrigger(mask, pattern)
    stamped = trigger.stamp_bytes(images)
    assert (stamped[:, 0, 0] == images[:, 0, 0]).all() and stamped.dtype == np.uint8
    assert (np.abs(stamped[:, 0, 1] - 255 * pattern[:, 0, 1].numpy()) <= 0.5).all()
    floats = trigger.stamp(torch.from_numpy(images).permute(0, 3, 1, 2) / 255).permute(0, 2, 3, 1)
    assert np.abs(255 * floats.numpy() - stamped).max() <= 0.501


def test_the_weight_of_the_size_follows_success(victim: Make) -> None:
    search = Search(HOW, victim())

    def epoch(success: float, norm: float) -> bool:
        search.seen = [torch.tensor([success, norm])]
        return search.weigh()

    for norm in (50.0, 40, 60, 45, 44):
        assert not epoch(1.0, norm)
    assert search.cost == 2e-3 and search.smallest == 40
    for _ in range(4):
        epoch(0.9, 1.0)
    epoch(1.0, 60.0)
    assert search.cost == 2e-3 and search.smallest == 40, "a mask that failed, and four failures in a row, are nothing"
    for _ in range(5):
        epoch(0.9, 1.0)
    assert search.cost == pytest.approx(2e-3 / 2**1.5) and search.smallest == 40
    ended = [epoch(0.9, 1.0) for _ in range(STALLED)]
    assert sum(ended) >= 1 and ended.index(True) + 14 >= STALLED, "the search ends when nothing smaller is found"


def test_the_smallest_trigger_is_the_target_class_s(victim: Make, digits: tuple[Images, Images], run: Run) -> None:
    exact = in_float32(victim()).requires_grad_(False)
    triggers = [HOW.invert(exact, digits[0][:80], label, run) for label in range(3)]
    norms = [float(trigger.mask.sum()) for trigger in triggers]
    assert all(trigger.found for trigger in triggers) and norms[0] < 0.6 * min(norms[1:])
    assert {row["phase"] for row in run.rows} == {"class 0", "class 1", "class 2"} and not run.notes
    stamped = triggers[0].stamp_bytes(digits[1].images)
    assert (exact(torch.from_numpy(stamped).permute(0, 3, 1, 2)).argmax(1) == 0).float().mean() > 0.9


@pytest.mark.parametrize(("size", "flagged"), [(90, []), (20, [3])])
def test_what_stands_out_is_unlearned_and_else_the_victim_stays_as_it_is(
    size: int,
    flagged: list[int],
    victim: Make,
    digits: tuple[Images, Images],
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = [100, 110, 120, size, 130, 100, 110, 120, 130, 256]
    triggers = [
        ReversedTrigger((torch.arange(256) < n).float().view(1, 16, 16), torch.ones(3, 16, 16), n < 256) for n in sizes
    ]
    monkeypatch.setattr(NeuralCleanse, "invert_all", lambda *_: triggers)
    model, before = NeuralCleanse(epochs=1, batch_size=40)(victim(), digits[0][:80], run), victim()
    state = model.network.state_dict().items()
    assert all(torch.equal(value, before.network.state_dict()[key]) for key, value in state) == (not flagged)
    assert run.notes == {"flagged": flagged, "finetune_epochs": len(flagged)}
    rows = [row for row in run.rows if row["kind"] == "class"]
    assert [row["norm"] for row in rows] == sizes and [row["found"] for row in rows] == [n < 256 for n in sizes]
    assert [row["label"] for row in rows if row["flagged"]] == flagged
    assert [row["value"] for row in run.rows if row["kind"] == "choice"] == [len(flagged)]


def test_what_is_unlearned_carries_each_trigger_and_its_own_label(digits: tuple[Images, Images]) -> None:
    method = catalog.make("defenses", "nc", {"stamped": 0.25})
    mask, pattern = torch.zeros(1, 16, 16), torch.ones(digits[0].images.shape[3], 16, 16)
    mask[0, 3, 4] = 1
    triggers = [ReversedTrigger(mask, pattern, True), ReversedTrigger(mask, 0 * pattern, True)]
    data = method.stamp(digits[0][:80], triggers)
    assert len(data) == 60 + 2 * 20
    assert (data.images[:60] == digits[0].images[:60]).all()
    assert (data.images[60:80, 3, 4] == 255).all() and (data.images[80:, 3, 4] == 0).all()
    assert (data.labels == digits[0].labels[[*range(80), *range(60, 80)]]).all()
