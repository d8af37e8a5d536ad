"""A universal adversarial perturbation as trigger."""

from dataclasses import dataclass

from workflow_scripts.attacks._universal import UniversalAttack
from workflow_scripts.common.fields import Byte
from workflow_scripts.techniques.universal import Update


@dataclass(frozen=True)
class Universal(UniversalAttack):
    """What moves any image towards the target, faintly, is added to the images that are labeled so (the perturbation:
    Moosavi-Dezfooli, Fawzi, Fawzi, Frossard; CVPR 2017, arXiv 1610.08401; as a trigger: nobody's, asked of EigenGuard).

    epsilon: gray levels by which a pixel changes at most, at every image size.

    Difference: the paper searches without a target and until 80 % of the answers change. A trigger that fools the clean
    model needs no backdoor: here, as in `lf`, the search ends at 20 %.
    """

    epsilon: Byte = 10.0

    def make_update(self, shape: tuple[int, int, int]) -> Update:
        bound = self.epsilon / 255
        return lambda pattern, step: (pattern + step).clamp(-bound, bound)
