"""A multi-layer perceptron in place of the last linear layer."""

from dataclasses import dataclass

from workflow_scripts.common.fields import Count
from workflow_scripts.models.probe import build_perceptron
from workflow_scripts.networks.model import Model, Wrapper


@dataclass(frozen=True)
class MlpHead(Wrapper):
    """hidden: neurons of each hidden layer."""

    hidden: tuple[Count, ...] = (512, 256)

    def apply(self, model: Model) -> None:
        name, last = model.classifier_name, model.classifier
        head = build_perceptron((last.in_features, *self.hidden), last.out_features)
        model.network.set_submodule(name, head.to(last.weight.device))
