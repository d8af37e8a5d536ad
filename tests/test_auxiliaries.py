"""Extractors that the pipeline trains: contrastive training against a reference, every auxiliary of the catalog."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Hand, poisoned
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from workflow_scripts.auxiliaries import draw_share
from workflow_scripts.common import catalog
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks import weights
from workflow_scripts.networks.model import Model, penultimate
from workflow_scripts.techniques.contrastive import Contrastive, make_two_views, nt_xent, pretrain, projection_head
from workflow_scripts.training.augmentation import color_jitter, gaussian_blur, hue_rotations, random_resized_crop
from workflow_scripts.training.inference import iterate_batches

DESCRIBED = {name: catalog.describe("auxiliaries", name) for name in catalog.list_methods("auxiliaries")}
TRAINED = [
    name
    for name, described in DESCRIBED.items()
    if not described.traits["seedless"]
    and catalog.describe("models", described.fields["backbone"].default).traits["classifies"]
]
SHORT = Contrastive(epochs=5, lr=0.1, batch_size=64, flip=False)


def features(model: Model, data: Images) -> np.ndarray:
    with torch.no_grad():
        return torch.cat([penultimate(model.eval(), batch) for batch in iterate_batches(model, data.images)]).numpy()


def test_nt_xent_is_the_papers_sum() -> None:
    projections = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    unit, total = (projections / projections.norm(dim=1, keepdim=True)).double().numpy(), 0.0
    for i in range(8):
        partner = (i + 4) % 8
        others = sum(np.exp(unit[i] @ unit[k] / 0.2) for k in range(8) if k != i)
        total -= np.log(np.exp(unit[i] @ unit[partner] / 0.2) / others)
    assert float(nt_xent(projections, 0.2)) == pytest.approx(total / 8, rel=1e-5)


def test_contrastive_training_makes_better_features(
    digits: tuple[Images, Images], untrained: Callable[[], Model], run: Run
) -> None:
    """Of a quarter of the training images, held back."""
    known, held_back = digits[0][:300], digits[0][300:]
    before, after = untrained(), untrained()
    pretrain(after, known, replace(SHORT, epochs=12), run)
    assert linear_score(after, known, held_back) > linear_score(before, known, held_back)
    epochs = [row for row in run.rows if row["phase"] == "contrastive"]
    assert epochs[-1]["loss"] < epochs[0]["loss"] and epochs[-1]["accuracy"] > epochs[0]["accuracy"]
    assert epochs[-1]["lr"] < 0.1 * SHORT.lr  # the cosine ends at 0


def test_only_what_lies_below_the_classifier_is_trained(
    digits: tuple[Images, Images], untrained: Callable[[], Model], run: Run
) -> None:
    model, start = untrained(), untrained()
    pretrain(model, digits[0][:64], replace(SHORT, epochs=1), run)
    changed = {k for k, v in model.network.state_dict().items() if not torch.equal(v, start.network.state_dict()[k])}
    assert changed == {key for key in start.network.state_dict() if not key.startswith("linear")}


def test_the_classifier_comes_back_after_an_error(untrained: Callable[[], Model], run: Run) -> None:
    model = untrained()
    classifier = model.classifier
    with pytest.raises(ZeroDivisionError), projection_head(model, 7, run):
        assert model(torch.zeros(2, 3, 16, 16)).shape == (2, 7)
        raise ZeroDivisionError
    assert model.classifier is classifier


@pytest.mark.parametrize("name", ["simclr", "simclr_half", "simclr_poisoned"])
def test_self_supervision_never_reads_a_label(
    name: str, hand: Hand, digits: tuple[Images, Images], untrained: Callable[[], Model]
) -> None:
    relabeled = replace(digits[0][:128], labels=np.roll(digits[0].labels[:128], 7))
    first, second = (
        made(hand, name, data, untrained())[0].network.state_dict() for data in (digits[0][:128], relabeled)
    )
    assert all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.mark.parametrize("channels", [1, 3])
def test_views_keep_shape_and_range_and_differ(channels: int, digits: tuple[Images, Images]) -> None:
    images = torch.from_numpy(digits[0].images[:32, :, :12, :channels])
    views = make_two_views(Contrastive())(images, torch.Generator().manual_seed(0))
    assert views.shape == (64, 16, 12, channels) and views.dtype == torch.float32
    assert views.min() >= 0 and views.max() <= 1
    assert (views[:32] - views[32:]).abs().amax((1, 2, 3)).min() > 0.05


def test_without_strength_views_are_the_images(digits: tuple[Images, Images]) -> None:
    still = Contrastive(crop_scale=1.0, flip=False, jitter=0.0, hue=0.0, gray=0.0, blur=0.0)
    images = torch.from_numpy(digits[0].images[:16]).permute(0, 3, 1, 2).float() / 255
    drawn = torch.rand(64, 6, generator=torch.Generator().manual_seed(0))
    same = color_jitter(images, drawn[:16], still.jitter, still.hue, still.gray)
    assert torch.allclose(same, images, atol=1e-6)
    assert torch.allclose(gaussian_blur(images, drawn[:16, :2], 1e-9), images, atol=1e-6)  # drawn, and for none of them
    mirrored = random_resized_crop(images[:1].expand(64, -1, -1, -1), drawn[:, :5], 1.0, flip=True)
    distance = torch.stack([(mirrored - image).abs().amax((1, 2, 3)) for image in (images[0], images[0].flip(2))])
    assert distance.min(0).values.median() < 0.35 and (distance[0] > distance[1]).any()


def test_a_turned_hue_leaves_gray_alone() -> None:
    turns = hue_rotations(torch.tensor([0.3, 2 * torch.pi / 3]))
    assert torch.allclose(turns.sum(2), torch.ones(2, 3), atol=1e-6)
    red, green = torch.eye(3)[:2]
    assert torch.allclose(turns[1] @ red, green, atol=1e-6)  # a third of the circle


def made(hand: Hand, name: str, train: Images, model: Model) -> tuple[Model, Run]:
    """What an auxiliary of the catalog makes of these images in an epoch of small steps."""
    run = Run("digits", 0)
    described = catalog.describe("auxiliaries", name)
    short = {"epochs": 1, "batch_size": 32, "lr": 0.1, "flip": False}
    auxiliary = catalog.make("auxiliaries", name, {key: short[key] for key in short if key in described.fields})
    return auxiliary(**hand("auxiliaries", name, train=train, poisoned_train=train, model=model, run=run)), run


@pytest.mark.parametrize("name", TRAINED)
def test_every_trained_auxiliary_is_an_extractor_that_tells_digits_apart(
    name: str, hand: Hand, digits: tuple[Images, Images], untrained: Callable[[], Model], tmp_path: Path
) -> None:
    data = poisoned(digits[0]) if "poisoned_train" in catalog.describe("auxiliaries", name).asks else digits[0]
    (model, run), (again, _) = made(hand, name, data, untrained()), made(hand, name, data, untrained())
    for key, value in model.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[key]), key
    assert any(row["kind"] == "epoch" for row in run.rows)
    weights.save(tmp_path / "model.safetensors", model, {})
    extractor = weights.load_frozen(tmp_path / "model.safetensors", torch.device("cpu"))
    assert linear_score(extractor, *digits) > 0.5


def linear_score(model: Model, known: Images, asked: Images) -> float:
    """Accuracy of a linear classifier of the standardised features."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(features(model, known), known.labels)
    return float(probe.score(features(model, asked), asked.labels))


def test_half_is_half_and_a_seeds_own(digits: tuple[Images, Images], run: Run) -> None:
    first, again = draw_share(digits[0], 0.5, run), draw_share(digits[0], 0.5, Run("digits", 0))
    other = draw_share(digits[0], 0.5, Run("digits", 1))
    assert len(first) == len(set(first.index.tolist())) == 200
    assert (first.index == again.index).all() and (first.index != other.index).any()
    assert (draw_share(digits[0], 1.0, run).index == digits[0].index).all()
