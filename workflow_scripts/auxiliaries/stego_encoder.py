"""A writer of invisible messages, and their reader."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from workflow_scripts.auxiliaries import Auxiliary
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.fields import Count, ModelName, NonNegative, Positive, Share, Whole
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.models.stego import Steganography
from workflow_scripts.networks.model import Model
from workflow_scripts.training.loader import Batch
from workflow_scripts.training.loop import train as fit
from workflow_scripts.training.optimizers import TorchOptimizer
from workflow_scripts.training.transfer import send


@dataclass(frozen=True)
class Budget:
    """How long the encoder learns, and from when on it has to hide what it writes.

    At first only the message counts. `wait` steps after a batch whose share of right bits is above `readable`, the
    squared error of the image begins to count: its weight rises linearly over `ramp` steps to `weight`, and stays there
    until all `steps` are done.
    """

    steps: Count = 15_640
    lr: Positive = 1e-4
    batch_size: Count = 64
    readable: Share = 0.9
    wait: Whole = 1000
    ramp: Count = 3000
    weight: NonNegative = 10.0

    def weigh(self, step: int, read_at: int | None) -> float:
        """What the image's error counts at a step, when messages were readable at another, or have not been yet."""
        if read_at is None:
            return 0.0
        return self.weight * min(1.0, max(0, step - read_at - self.wait) / self.ramp)


@dataclass(frozen=True)
class StegoEncoder(Budget, Auxiliary):
    """The encoder of SSBA (Li, Li, Wu, Li, He, Lyu; ICCV 2021, arXiv 2012.03816) with its decoder, as BackdoorBench
    trains them on CIFAR-10 for 20 epochs by Adam: random bits are written into each image and read again; the loss is
    their binary cross-entropy and the squared error of the image, as `Budget` has it. One for all seeds of a dataset.

    The paper's loss has the perceptual distance LPIPS, of a downloaded network, and a critic beside the squared error.

    Difference to BackdoorBench: the length is in steps, so that it is the same on every dataset.
    """

    seedless = True

    backbone: ModelName = "stego"

    def __call__(self, train: Images, model: Model, run: Run) -> Model:
        if not isinstance(model.network, Steganography):
            raise UserError(f"stego_encoder: its backbone {model.name} writes no messages; choose stego")
        lesson = Lesson(model.network, self, run)
        recipe = replace(model.recipe, lr=self.lr, batch_size=self.batch_size, schedule="constant", crop=0, flip=False)
        fit(
            model,
            replace(train, labels=np.zeros_like(train.labels)),
            recipe,
            run,
            phase="stego",
            step=lesson,
            optimizer=TorchOptimizer(torch.optim.Adam(model.parameters())),
            until=lesson.tell,
            steps=self.steps,
        )
        run.note(readable_step=lesson.read_at, image_weight=self.weigh(self.steps, lesson.read_at))
        return model


class Lesson:
    """A step of this training for `fit`, and what became of the images and messages of an epoch.

    Its logits say of each image whether all of its message was read (the label is 0) or not.
    """

    def __init__(self, network: Steganography, budget: Budget, run: Run):
        self.network, self.budget, self.run = network, budget, run
        self.messages = run.torch_rng("stego/messages")
        self.step = 0
        self.read_at: int | None = None
        self.sums = torch.zeros(3)

    def __call__(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        images = batch.images.float() / 255
        length = self.network.bits
        bits = send(torch.randint(2, (len(images), length), generator=self.messages).float(), images.device)
        error, doubt, read = measure(self.network, images, bits)
        loss = doubt + self.budget.weigh(self.step, self.read_at) * error
        loss.backward()  # type: ignore[no-untyped-call]
        self.step += 1
        if self.read_at is None and float(read.mean()) > self.budget.readable:
            self.read_at = self.step
        self.sums = self.sums.to(images.device) + torch.stack([error.detach(), read.mean(), error.new_ones(())])
        whole = read.mean(1) == 1
        return torch.stack([whole, ~whole], 1).float(), loss

    def tell(self) -> bool:
        """Log the epoch; it is never the last."""
        error, read, steps = self.sums.tolist()
        self.sums = torch.zeros(3)
        psnr = -10 * math.log10(error / steps) if error else None
        weight = self.budget.weigh(self.step, self.read_at)
        self.run.log("messages", step=self.step, bit_accuracy=read / steps, psnr=psnr, image_weight=weight)
        return False


def measure(
    network: Steganography, images: torch.Tensor, bits: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of images (B, C, H, W) in [0, 1] and the messages (B, L) that are written into them: the mean squared error of
    the images, the binary cross-entropy of the bits in nats, and which bits are read right, 0 or 1 (B, L)."""
    written = network.encode(images, bits)
    logits = network(written)
    error, doubt = F.mse_loss(written, images), F.binary_cross_entropy_with_logits(logits, bits)
    return error, doubt, ((logits.detach() > 0) == (bits > 0.5)).float()
