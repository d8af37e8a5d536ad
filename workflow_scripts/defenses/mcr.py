"""Bridging Mode Connectivity in Loss Landscapes and Adversarial Robustness: mode connectivity repair."""

import copy
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from workflow_scripts.common.fields import Count, Positive, Share, Whole
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses import FineTuningDefense
from workflow_scripts.networks.model import Model
from workflow_scripts.training.inference import extract_features
from workflow_scripts.training.loader import Batch
from workflow_scripts.training.loop import train
from workflow_scripts.training.optimizers import SGD
from workflow_scripts.training.statistics import estimate_statistics
from workflow_scripts.wrappers.bezier_path import BezierPath, bernstein, read_statistics, read_weights


@dataclass(frozen=True)
class ModeConnectivityRepair(FineTuningDefense):
    """Take a network from the middle of a path of low loss: a Bézier curve in the space of weights from the victim to
    the fine-tuned victim, whose middle point is trained at random places of the curve (Zhao, Chen, Das, Ramamurthy,
    Lin; ICLR 2020, arXiv 2005.00060).

    epochs, lr: of fine-tuning; curve_epochs, curve_lr: of the middle point, along a cosine too; t: the place on the
    curve, 0 the victim, 1 the fine-tuned one. sweep: a row of metrics for each tenth of the curve besides.

    Differences: the other end is the fine-tuned victim, as in BackdoorBench, where the paper mostly has two victims of
    the attacker. curve_lr is that of the authors' code, with the gradients of each step alone; BackdoorBench's pile up,
    at 3e-5. Weight decay acts on the middle point, in the authors' code on the drawn place. Running statistics are
    those of the holdout without augmentation.
    """

    batch_size: Count = 128
    curve_epochs: Whole = 100
    curve_lr: Positive = 0.01
    t: Share = 0.1
    sweep: bool = True

    def __call__(self, victim: Model, holdout: Images, run: Run) -> Model:
        data, end = extract_features(victim, holdout, victim.recipe), copy.deepcopy(victim)
        self.fine_tune(end, data, run)
        middle = self.train_middle(victim, end, data, run)
        path, model = BezierPath(self.t, self.sweep), copy.deepcopy(victim)
        model.wrap(path)
        points, statistics = (model.network.get_buffer(f"path_{key}") for key in ("points", "statistics"))
        points.copy_(torch.stack([read_weights(victim), middle, read_weights(end)]))
        for row, protocol in enumerate(path.protocols):
            path.ask(model, protocol)
            estimate_statistics(model, data, self.batch_size)
            statistics[row] = read_statistics(model)
        path.ask(model, path.protocols[0])
        return model

    def train_middle(self, victim: Model, end: Model, data: Images, run: Run) -> torch.Tensor:
        """float32 (P,): the middle point that lowers the loss in the mean over the curve, at first that of the line."""
        first, last = ({n: p.detach() for n, p in model.network.named_parameters()} for model in (victim, end))
        middle = {name: nn.Parameter((value + last[name]) / 2) for name, value in first.items()}
        recipe = replace(victim.recipe, lr=self.curve_lr, batch_size=self.batch_size, schedule="cosine")
        walker, places = copy.deepcopy(victim), run.torch_rng("mcr/places")

        def step(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
            a, b, c = bernstein(float(torch.rand((), generator=places)))
            values = {f"network.{name}": a * first[name] + b * own + c * last[name] for name, own in middle.items()}
            logits = functional_call(walker, values, (batch.images,))
            loss = F.cross_entropy(logits, batch.labels)
            loss.backward()  # type: ignore[no-untyped-call]
            return logits, loss

        if self.curve_epochs:
            recipe = replace(recipe, epochs=self.curve_epochs)
            train(walker, data, recipe, run, phase="curve", step=step, optimizer=SGD(middle.values(), recipe))
        walker.network.load_state_dict(middle, strict=False)
        return read_weights(walker)
