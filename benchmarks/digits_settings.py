"""Chooses the defenses' settings for digits by the rule of `settings_rule`. What is set for digits by it in no way has
its reason in REASONS.

    python -m benchmarks.digits_settings > benchmarks/digits_settings.md
"""

from collections.abc import Iterator, Sequence

from benchmarks.settings_rule import (
    CANDIDATES,
    FINE_TUNED,
    GIVEN,
    RATIOS,
    SEEDS,
    TOLERANCE,
    UNLEARN_EPOCHS,
    Chosen,
    Ended,
    Loss,
    Survey,
    choose,
    describe_unlearning,
    mark,
    mean_losses,
    read_settings,
)
from workflow_scripts.common import spellings
from workflow_scripts.common.fields import format_value

ARCHITECTURE = "preact_small"

REASONS = {
    "holdout_size": "five percent, as the papers have it, would be seven images of a class",
    "batch_size": "269 images make one batch of 256",
    "epochs": "of fine-tuning: 80 steps, a quarter of a victim's training; time",
    "anp steps": "a third of a victim's training, each step three passes; time",
    "mcr curve_epochs": "as many as of fine-tuning; time",
    "abl isolation_epochs": "the method's 20, 60 and 20 epochs, scaled to the budget of a victim",
    "abl finetune_epochs": "the same",
    "abl unlearn_epochs": "the same",
    "abl lr": "the victim's",
    "abl batch_size": "the victim's",
    "eigenguard batch_size": "the victim's",
    "fmp samples": "each image is moved anew for every unit; time",
    "nc inversion_epochs": "for time; a mask of 40 epochs is at most a tenth larger than one of 80",
    "i_bau rounds": "three steps each, where the authors have fifty; more for time",
    "i_bau radius": "the same for each pixel: images have half the side",
    "npd epochs": "100 steps, a third of a victim's training; time",
    "nad teacher_epochs": "as many as the student's",
    "sau epochs": "half of the others': each step asks and differentiates two networks up to five times; time",
    "hid ssl_epochs": "what fits into 40 seconds of a cell",
    "hid semi_epochs": "what fits into 40 seconds of a cell",
    "hid ssl_lr": "0.4 is for batches of 512; by a probe's accuracy on held-back training images",
    "hid ssl_batch_size": "1,347 images make two batches of 512",
    "hid ssl_flip": "a mirrored digit is another sign",
    "hid ssl_crop_scale": "a fifth of 16x16 pixels shows no digit",
    "hid ssl_blur": "16x16 pixels are blurred already",
    "hid head_lr": "by a probe's accuracy on held-back training images",
    "hid lr": "by a probe's accuracy on held-back training images",
}
"""By field, or by defense and field: why what no rule has chosen differs on digits from the method's own value."""
OTHERS = {
    "models": "a victim in seconds on one core; preact_small's by trials that showed ASR too (above 0.02 SIG is not "
    "learned), the other networks' by the clean model's accuracy on seed 10; moved or mirrored digits are other images",
    "attacks": "the attacker's choice, who may look at ASR: what 16x16 pixels take; wanet trains by the model's recipe",
    "auxiliaries": "25 epochs are what fits into 20 seconds; `lr` by a probe's accuracy on held-back training images",
    "analyses": "those of the defenses that they speak of",
}
"""The same of the other kinds of methods."""
SINGLE = {
    "ctrl": "clipped, of 200, 400, 600 and 800 the least that implants at each seed asked (benchmarks/attacks/ctrl.md)",
    "lc": "with corners of three pixels ASR at seed 10 is 1, 11 and 34 at eps 8, 32 and 64; with four, at 64, it is 98",
    "universal": "as strong as it takes to change the clean model's answers",
    "eigenguard_adaptive": "at eps 8 the filtered network gets 62 to 95 % of the noisy class right at seeds 10 to 12, "
    "at 16 it gets 0 to 12",
    "robust": "`eps` half of lc's; eight epochs of three steps take a quarter of a minute",
    "eigenguard": "those of the defense",
    "reactivation": "as many clean images as a defender is given, and the learning rate of victims: at 0.1 accuracy "
    "falls to 36 %",
    "stego": "of 100 bits in 16x16 pixels 74 % are read after as many steps, and hiding begins at 90 %; half the width "
    "is for time",
    "stego_encoder": "half a minute of one core; `lr`, `wait`, `ramp` for so few steps; the ramp ends at step 571",
}
"""The same of single methods of these kinds."""

INTRODUCTION = f"""\
# The defenses' settings for digits

What `python -m benchmarks.digits_settings` prints. Seeds {", ".join(map(str, SEEDS))}, which no study reports; attacks
{", ".join(RATIOS)}. Loss of accuracy against the victim, in points, mean over attacks and seeds, on 135 images that
neither the victim nor the defense was given: they are taken out of the training set before anybody is handed it, and
so are the defender's {GIVEN}. Of candidates from mild to aggressive the last before the first that loses more than
{100 * TOLERANCE:g} points is chosen, the method's own value where the mildest loses more already. No trigger and no
test image is looked at. The learning rate of fine-tuning is chosen first, by `ft`, and is that of
{", ".join(FINE_TUNED)} too.

| defense | field | value | mean loss | worst loss | chosen |
|---|---|---|---|---|---|"""
UNLEARN_INTRODUCTION = f"""
Clean unlearning (`tsbd`, the analysis `unlearning`): the smallest learning rate at which it ends within
{UNLEARN_EPOCHS} epochs on every victim, by the defender's images alone.

| unlearn_lr | victims where it ends | chosen |
|---|---|---|"""
REASONS_INTRODUCTION = """
What no rule has chosen. `holder` has its own defaults.

| method | fields | values | reason |
|---|---|---|---|"""
NOT_BLIND = """
Not blind: of two SimCLR recipes for `hid` the one with the better kNN accuracy was kept, from a line that also showed
an ASR (the kept one had the higher); and the rule that a valley of Hölder constants must be half as low as its lower
summit came after a version without it had cut a third of a head at ripples, from a printout that also showed ASRs."""


def main() -> None:
    """Print the tables as Markdown."""
    stop = spellings.resolve("defenses", "tsbd")["stop_accuracy"]
    print(describe(*Survey((ARCHITECTURE,), tuple(RATIOS), tuple(CANDIDATES), stop).conduct()))


def describe(losses: Sequence[Loss], ended: Sequence[Ended], chosen: Chosen) -> str:
    """All that was found, as Markdown."""
    parts = [INTRODUCTION, *_candidates(losses), UNLEARN_INTRODUCTION, *describe_unlearning(ended, chosen)]
    return "\n".join([*parts, REASONS_INTRODUCTION, *_reasons(), NOT_BLIND])


def _candidates(losses: Sequence[Loss]) -> Iterator[str]:
    """A row for each candidate."""
    for defense, (field, values) in CANDIDATES.items():
        own, best = float(spellings.resolve("defenses", defense)[field]), choose(defense, losses)
        for value in values:
            worst = max(loss.loss for loss in losses if (loss.defense, loss.value) == (defense, value))
            costs = f"{100 * mean_losses(defense, value, losses)[ARCHITECTURE]:.2f} | {100 * worst:.2f}"
            shown = f"{value:g}{' (its own)' if value == own else ''}"
            yield f"| {defense} | {field} | {shown} | {costs} | {mark(value == best)} |"


def _reasons() -> Iterator[str]:
    """A row for each field that no rule has chosen. KeyError of one that has no reason."""
    for defense, fields in read_settings()["defenses"].items():
        by_rule = {CANDIDATES[defense][0] if defense in CANDIDATES else None, *Chosen(0, 0).given_to(defense)}
        for field in (field for field in fields if field not in by_rule):
            reason = REASONS.get(f"{defense} {field}") or REASONS[field]
            yield f"| {defense} | {field} | {format_value(fields[field])} | {reason} |"
    for kind, reason in OTHERS.items():
        for method, fields in read_settings()[kind].items():
            values = ", ".join(format_value(value) for value in fields.values())
            yield f"| {method} | {', '.join(fields)} | {values} | {SINGLE.get(method, reason)} |"


if __name__ == "__main__":
    main()
