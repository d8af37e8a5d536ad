"""A multi-layer perceptron in place of the last linear layer."""

from dataclasses import dataclass

from workflow_scripts.models import Head, Model, Wrapper
from workflow_scripts.models.probe import perceptron


@dataclass(frozen=True)
class MlpHead(Wrapper):
    """hidden: neurons of each hidden layer."""

    hidden: tuple[int, ...] = (512, 256)

    def apply(self, model: Model) -> None:
        for name, module in list(model.network.named_modules()):
            if isinstance(module, Head):
                head = perceptron((module.in_features, *self.hidden), module.out_features)
                model.network.set_submodule(name, head.to(module.weight.device))
