"""A poisoned set and the network that somebody else has trained on it."""

from dataclasses import dataclass, replace

from workflow_scripts.attacks import Poison
from workflow_scripts.attacks._records import WEIGHTS, find_part
from workflow_scripts.attacks.given import Given
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks import weights
from workflow_scripts.networks.model import Model


@dataclass(frozen=True)
class GivenVictim(Given):
    """What `given` reads, and `data/records/RECORD/model.safetensors`: the state dict of a network of the cell's
    architecture, for images normalized as the dataset has it. The recipe of that architecture is taken for the one that
    it was trained by. Pickles are not opened: save them as safetensors where you trust them.
    """

    of_record = ("bd_train_dataset", "bd_test_dataset", "model.safetensors")  # type: ignore[assignment]

    def __call__(self, train: Images, model: Model, ratio: float, run: Run) -> Poison:  # type: ignore[override]
        poison = super().__call__(train, ratio, run)
        weights.fill(model, find_part(self.record, WEIGHTS))
        return replace(poison, victim=model.eval())
