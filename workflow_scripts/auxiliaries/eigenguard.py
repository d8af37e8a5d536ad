"""A clean model that carries EigenGuard's filter."""

from dataclasses import asdict, dataclass, replace

from workflow_scripts.auxiliaries import Auxiliary
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Model
from workflow_scripts.networks.spectrum import Spectrum
from workflow_scripts.training.loop import train as fit
from workflow_scripts.wrappers.spectral_filter import Filtered


@dataclass(frozen=True)
class FilteredSurrogate(Spectrum, Auxiliary):
    """What the defense `eigenguard` makes of the clean training images: the surrogate of an attacker who knows that it
    will be used (the rebuttal of the ICLR 2024 submission, OpenReview YSZ2GmGvUV)."""

    def __call__(self, train: Images, model: Model, run: Run) -> Model:
        spectrum = {key: value for key, value in asdict(self).items() if key != "backbone"}
        model.wrap(Filtered(**spectrum))
        fit(model, train, replace(model.recipe, batch_size=self.batch_size), run)
        return model
