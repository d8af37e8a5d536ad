"""Neural Attention Distillation: Erasing Backdoor Triggers from Deep Neural Networks."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn

from workflow_scripts.common.errors import UserError
from workflow_scripts.common.fields import Count, NonNegative, Whole
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses import FineTuningDefense
from workflow_scripts.networks.hooks import watch
from workflow_scripts.networks.inside import black_images
from workflow_scripts.networks.model import Model
from workflow_scripts.training.loader import Batch
from workflow_scripts.training.loop import Step, train

Outputs = dict[str, torch.Tensor]
"""float32 by stage: (B, C, H, W) of a convolutional one, (B, tokens, D) of a transformer's."""
MAPS = 3


@dataclass(frozen=True)
class NeuralAttentionDistillation(FineTuningDefense):
    """Fine-tune the victim while its attention follows that of a teacher: the victim fine-tuned before, on the same
    images for teacher_epochs (Li, Lyu, Koren, Lyu, Li, Ma; ICLR 2021, arXiv 2101.05930).

    An attention map is the sum over channels of |activation|^p at each place, divided by its Euclidean norm (equations
    1, 2). The loss is cross-entropy and, of each of the last three stages whose outputs have several places, beta times
    the mean squared difference of the two maps, half of that for the earliest of three: the paper's 500, 1000, 1000.

    Differences: lr is BackdoorBench's; the paper begins at 0.1 and falls tenfold twice or more, with a WRN-16-1, whose
    maps have four times as many places, over which the difference is averaged. The learning rate, of the teacher too,
    falls along a cosine; weight decay and augmentation are the victim's (in the paper 1e-4, and Cutout). BackdoorBench
    takes its third map behind the global pooling, where it is the constant 1, and asks the training student four times
    a step, which its running statistics follow.
    """

    needs = ("stages",)  # type: ignore[assignment]

    epochs: Whole = 10
    batch_size: Count = 64
    teacher_epochs: Whole = 10
    beta: NonNegative = 1000.0
    p: Count = 2

    def __call__(self, victim: Model, holdout: Images, run: Run) -> Model:
        teacher = self.train_teacher(victim, holdout, run)
        self.fine_tune(victim, holdout, run, step=self.make_step(victim, teacher))
        return victim

    def train_teacher(self, victim: Model, holdout: Images, run: Run) -> Model:
        """A copy of the victim after fine-tuning, in evaluation mode."""
        teacher = copy.deepcopy(victim)
        if self.teacher_epochs:
            recipe = replace(victim.recipe, epochs=self.teacher_epochs, lr=self.lr, batch_size=self.batch_size)
            train(teacher, holdout, replace(recipe, schedule="cosine"), run, phase="teacher")
        return teacher.requires_grad_(False).eval()

    def make_step(self, student: Model, teacher: Model) -> Step:
        """The step of cross-entropy and distillation (equation 3)."""
        weights = self.weigh_stages(teacher)
        channels_last = _is_channels_last(teacher.network)

        def step(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
            with torch.no_grad():
                _, taught = ask_stages(teacher, weights, batch.images)
            logits, own = ask_stages(student, weights, batch.images)
            loss = F.cross_entropy(logits, batch.labels)
            for name, weight in weights.items():
                followed = attention_map(taught[name], self.p, channels_last)
                loss = loss + weight * F.mse_loss(attention_map(own[name], self.p, channels_last), followed)
            loss.backward()  # type: ignore[no-untyped-call]
            return logits, loss

        return step

    def weigh_stages(self, model: Model) -> dict[str, float]:
        """The weight of each stage whose maps are compared, by name in order. UserError if there is none."""
        channels_last = _is_channels_last(model.network)
        with torch.no_grad():
            _, outputs = ask_stages(model, model.architecture.stages(model.network), black_images(model, 1))
        found = [name for name, output in outputs.items() if attention_map(output, self.p, channels_last).shape[1] > 1]
        if not found:
            raise UserError(f"nad: no stage of {model.name} has outputs at several places, so that none has attention")
        halves = [0.5] * (len(found) >= MAPS) + [1.0] * MAPS
        return {name: self.beta * half for name, half in zip(found[-MAPS:], halves, strict=False)}


def ask_stages(model: Model, names: Mapping[str, object], images: torch.Tensor) -> tuple[torch.Tensor, Outputs]:
    """Logits (B, K), and what the stages of these names give, for images (B, C, H, W)."""
    outputs: Outputs = {}
    modules = {name: model.network.get_submodule(name) for name in names}
    with watch(modules, lambda name, _, output: outputs.__setitem__(name, output.float())):
        return model(images), outputs


def attention_map(outputs: torch.Tensor, p: int, channels_last: bool) -> torch.Tensor:
    """(B, places), each of norm 1: the sum of |outputs|^p over channels."""
    axis = -1 if channels_last or outputs.ndim == 3 else 1
    return F.normalize(outputs.abs().pow(p).sum(axis).flatten(1))


def _is_channels_last(network: nn.Module) -> bool:
    """Whether it is one of timm's that say so of their stages, as Swin Transformers do."""
    return any(getattr(module, "output_fmt", "") == "NHWC" for module in network.modules())
