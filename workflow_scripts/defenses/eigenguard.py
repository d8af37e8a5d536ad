"""EigenGuard: backdoor defense in eigenspace."""

from dataclasses import asdict, dataclass, replace

from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.defenses import Defense
from workflow_scripts.networks.model import Model
from workflow_scripts.networks.spectrum import Spectrum
from workflow_scripts.training.loop import train
from workflow_scripts.wrappers.spectral_filter import Filtered


@dataclass(frozen=True)
class EigenGuard(Spectrum, Defense):
    """Train on the published images with a module in the network that levels the top k singular values of each batch
    of activations and damps the others (EigenGuard; ICLR 2024 submission, OpenReview YSZ2GmGvUV; no public code).

    The submission's text is known from its reviews: σ' = σ_k up to k, 0.001 σ_k beyond. They leave open, and are fields
    here: whether the tail is damped or, as "we only rescale" has it, unchanged; whether the gradient passes through the
    decomposition; the stage; k, whose one published value is the ten of a control. Not known is how a model was asked
    whose answer hangs on the batch, so every row names its protocol.

    `top: removed, tail: unchanged` is that control; tail_factor 0 removes the tail; both unchanged leave batch
    normalization alone, which is also the control of the lost energy, for it undoes any common factor. Differences:
    the Gram matrix in place of the decomposition (equal to rounding, benchmarks/gram.md), without directions below
    1e-6 σ_1, which are rounding; one process filters a whole batch; a last batch of half the size or more is filtered
    with the same k.
    """

    needs = ("stages",)  # type: ignore[assignment]

    def __call__(self, poisoned_train: Images, model: Model, run: Run) -> Model:
        model.wrap(Filtered(**asdict(self)))
        train(model, poisoned_train, replace(model.recipe, batch_size=self.batch_size), run)
        return model
