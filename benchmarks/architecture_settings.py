"""Chooses the defenses' settings for several architectures on digits, by the rule of `settings_rule`.

One value for all of them, so that a table can hold them beside each other: the last candidate before the first that
costs any of the architectures more than the rule allows. Two attacks and the defenses of
`studies/reviewers/architectures.yaml`.

    python -m benchmarks.architecture_settings > benchmarks/architecture_settings.md
"""

from collections.abc import Iterator, Sequence

from benchmarks.settings_rule import (
    CANDIDATES,
    SEEDS,
    TOLERANCE,
    UNLEARN_EPOCHS,
    Loss,
    Survey,
    choose,
    describe_unlearning,
    mark,
    mean_losses,
)

ARCHITECTURES = ("vgg16_bn", "mobilenet_v2", "vit_b_16")
ATTACKS = ("none", "badnets")
DEFENSES = ("ft", "clp", "anp", "tsbd", "fmp")
STOP_ACCURACY = 0.11
"""Of clean unlearning. At the method's own 0.1 that of VGG and ViT does not end: 27 of the 269 images are of one class,
so that a network that answers nothing else keeps 10.04 %, and goes on until it overflows."""

INTRODUCTION = f"""\
# The defenses' settings for three architectures on digits

What `python -m benchmarks.architecture_settings` prints: the rule of [`digits_settings.md`](digits_settings.md), asked
of {", ".join(ARCHITECTURES)} in their tiny forms; seeds {", ".join(map(str, SEEDS))}, attacks {" and ".join(ATTACKS)}.
Loss of accuracy in points, mean over attacks and seeds. The last candidate before the first that costs any of them more
than {100 * TOLERANCE:g} points is chosen for all, the method's own value where the mildest does already.

| defense | field | value | {" | ".join(ARCHITECTURES)} | chosen |
|---|---|---|{"---|" * len(ARCHITECTURES)}---|"""
UNLEARN_INTRODUCTION = f"""
Clean unlearning: the smallest learning rate at which it ends within {UNLEARN_EPOCHS} epochs on every victim. It ends at
an accuracy of {STOP_ACCURACY}: at the method's own 0.1 that of VGG and ViT does not, for 27 of the 269 images are of
one class, so that a network that answers nothing else keeps 10.04 %, and goes on until it overflows.

| unlearn_lr | victims where it ends | chosen |
|---|---|---|"""


def main() -> None:
    """Print the tables as Markdown."""
    losses, ended, chosen = Survey(ARCHITECTURES, ATTACKS, DEFENSES, STOP_ACCURACY).conduct()
    print("\n".join([INTRODUCTION, *_rows(losses), UNLEARN_INTRODUCTION, *describe_unlearning(ended, chosen)]))


def _rows(losses: Sequence[Loss]) -> Iterator[str]:
    """One for each candidate."""
    for defense in DEFENSES:
        field, values = CANDIDATES[defense]
        best = choose(defense, losses)
        for value in values:
            means = mean_losses(defense, value, losses)
            costs = " | ".join(f"{100 * means[name]:.2f}" for name in ARCHITECTURES)
            yield f"| {defense} | {field} | {value:g} | {costs} | {mark(value == best)} |"


if __name__ == "__main__":
    main()
