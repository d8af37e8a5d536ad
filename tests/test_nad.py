"""NAD: whose attention is compared, where, and that the student's follows the teacher's."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from conftest import tiny

from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses.nad import NeuralAttentionDistillation, attention_map
from workflow_scripts.networks.model import Model
from workflow_scripts.training.loader import Batch, to_network


@pytest.fixture
def batch(digits: tuple[Images, Images]) -> Batch:
    data = digits[0][:40]
    return Batch(to_network(torch.from_numpy(data.images)), torch.from_numpy(data.labels), torch.arange(len(data)))


def test_attention_is_where_the_channels_are_active_whatever_their_order_and_scale() -> None:
    outputs = torch.randn(4, 6, 3, 5, generator=torch.Generator().manual_seed(0))
    maps = attention_map(outputs, 2, False)
    assert maps.shape == (4, 15) and torch.allclose(maps.norm(dim=1), torch.ones(4))
    assert torch.allclose(attention_map(-3 * outputs.flip(1), 2, False), maps)
    assert not torch.allclose(attention_map(outputs, 1, False), maps, atol=0.01)
    tokens = outputs.flatten(2).mT
    assert torch.allclose(attention_map(tokens, 2, False), maps), "of tokens the channels come last"
    assert torch.allclose(attention_map(outputs.movedim(1, -1), 2, True), maps)


def test_the_last_three_stages_of_several_places_are_compared(digits: tuple[Images, Images]) -> None:
    method, form = NeuralAttentionDistillation(beta=10), digits[0].format
    deep = tiny("vgg16_bn", form, blocks=(1, 1, 1, 1))
    names = list(deep.architecture.stages(deep.network))
    assert method.weigh_stages(deep) == dict(zip(names[:3], (5, 10, 10), strict=True)), "the last stage has one place"
    shallow = tiny("vgg16_bn", form, blocks=(1, 1))
    assert list(method.weigh_stages(shallow).values()) == [10, 10]


def test_a_student_that_is_its_teacher_has_the_loss_of_fine_tuning(victim: Callable[[], Model], batch: Batch) -> None:
    student = victim()
    logits, loss = NeuralAttentionDistillation().make_step(student, victim())(batch)
    assert torch.allclose(loss, F.cross_entropy(logits, batch.labels), rtol=1e-6)


def test_the_students_attention_follows_the_teachers(
    victim: Callable[[], Model], digits: tuple[Images, Images], batch: Batch
) -> None:
    """By plain descent, in evaluation mode, where the two are asked alike."""
    method, student = NeuralAttentionDistillation(lr=0.05), victim()
    teacher = method.train_teacher(victim(), digits[0][:80], Run("digits", 0))
    step, distances = method.make_step(student, teacher), []
    for _ in range(10):
        student.zero_grad()
        logits, loss = step(batch)
        distances.append(float((loss - F.cross_entropy(logits, batch.labels)).detach()))
        with torch.no_grad():
            for parameter in student.parameters():
                if parameter.grad is not None:
                    parameter.sub_(1e-4 * parameter.grad)
    assert distances[-1] < 0.8 * distances[0]
