"""What a few poisoned images bring back."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Hand, secret

from workflow_scripts.common import catalog
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.common.truth import Truth
from workflow_scripts.networks.model import Model
from workflow_scripts.networks.spectrum import SpectralFilter
from workflow_scripts.training.loop import train as fit
from workflow_scripts.wrappers.bezier_path import BezierPath
from workflow_scripts.wrappers.spectral_filter import Filtered


@pytest.fixture
def known(digits: tuple[Images, Images]) -> Truth:
    """The attacker's secret, with what he altered."""
    return secret(digits[1], digits[0])


def reactivate(hand: Hand, known: Truth, defended: Model, **fields: Any) -> list[dict[str, Any]]:
    method = catalog.make(
        "analyses", "reactivation", {"clean": 60, "epochs": 4, "batch_size": 32, "lr": 0.05, **fields}
    )
    table, _ = method(**hand("analyses", "reactivation", defended=defended, truth=known))
    return table.to_pylist()  # type: ignore[no-any-return]


def test_a_network_that_never_saw_the_trigger_learns_it_of_many_images_only(
    hand: Hand, known: Truth, untrained: Callable[[], Model], digits: tuple[Images, Images]
) -> None:
    model = untrained()
    fit(model, digits[0], model.recipe, Run("digits", 0))
    state = {key: value.clone() for key, value in model.network.state_dict().items()}
    rows = reactivate(hand, known, model, counts=(0, 30, 1000))
    assert [row["poisoned"] for row in rows] == [None, 0, 30], "no more than the attacker has"
    assert rows[1]["asr"] < 0.3 < 0.6 < rows[2]["asr"]
    assert all(torch.equal(state[key], value) for key, value in model.network.state_dict().items())


def test_clean_images_are_those_that_nobody_altered(hand: Hand, known: Truth, victim: Callable[[], Model]) -> None:
    whole, rows = (reactivate(hand, known, victim(), counts=(0,), clean=count) for count in (10_000, 60))
    assert len(whole) == len(rows) == 2 and whole[0] == rows[0] and whole[0]["asr"] > 0.9


def test_where_nothing_is_poisoned_there_is_no_row(hand: Hand, victim: Callable[[], Model], known: Truth) -> None:
    nothing = Truth(known.triggered, known.original_labels, *(np.empty(0),) * 3, None, None, None)
    assert reactivate(hand, nothing, victim()) == []


def test_what_is_fine_tuned_on_a_path_is_what_is_asked(
    hand: Hand, known: Truth, untrained: Callable[[], Model]
) -> None:
    """A path has its weights elsewhere, and would give them to the network once more."""
    model = untrained()
    model.wrap(BezierPath())
    before, after = reactivate(hand, known, model, counts=(30,), clean=1000)
    assert after["acc"] > before["acc"] + 0.2


def test_a_filter_is_fine_tuned_by_batch(hand: Hand, untrained: Callable[[], Model]) -> None:
    """Though the model was last asked about single images, by the directions that training saw."""
    model, given = untrained(), hand("analyses", "reactivation")
    model.wrap(Filtered(stage=2, k=2, batch_size=16))
    model.wrapper.ask(model, model.protocols[-1])  # type: ignore[union-attr]
    method = catalog.make("analyses", "reactivation", {"epochs": 1, "batch_size": 32})
    copied = method._fine_tune(model, given["poisoned_train"][:64], given["run"])
    running = [[m.running for m in one.network.modules() if isinstance(m, SpectralFilter)] for one in (model, copied)]
    assert running == [[True], [False]]
