"""Whether the neurons that clean unlearning moves most are those that unlearning the backdoor moves most."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from workflow_scripts.analyses import Measured
from workflow_scripts.common.cells import Study
from workflow_scripts.reporting.estimates import Estimate, estimate
from workflow_scripts.reporting.panels import finish, make_grid, panels
from workflow_scripts.reporting.plotting import COLORS

LEGEND = "ρ: Spearman's, mean [range; from six seeds on 95 % interval]; control: without a trigger; dots: first seed"


@dataclass(frozen=True)
class WeightChanges:
    """For each attack, at the first seed: the neuron weight changes in unlearning clean images, and in unlearning
    triggered ones with the attacker's labels (poison unlearning); the last layer's in color.

    In words: Spearman's correlation, mean over seeds with range or interval, for the neurons of one network are no
    independent sample; beside it that of the control, in which the same images are unlearned without the trigger; where
    an unlearning ended short of its stop.
    """

    def __call__(self, study: Study, unlearning: Sequence[Measured]) -> Figure:
        shown = panels([(table, about) for table, about in unlearning if len(table)])
        figure, grid = make_grid(len(shown), 3.1, 2.8)
        for axis, (title, seeds) in zip(grid, shown.items(), strict=False):
            _panel(axis, seeds[0][0])
            axis.set_title("\n".join([title, *_words(seeds)]), fontsize=8)
        x, y = "weight change in clean unlearning (L1)", "weight change in poison unlearning (L1)"
        return finish(figure, study.title, x, y, legend="right", note=LEGEND)


def _panel(axis: Axes, table: pa.Table) -> None:
    layers, clean, poison = (table[key].to_numpy() for key in ("layer", "clean", "poison"))
    last = layers == layers[-1]
    for chosen, name, color in ((~last, "other layers", COLORS[9]), (last, "last layer", COLORS[0])):
        axis.plot(
            clean[chosen], poison[chosen], "o", color=color, markersize=3, alpha=0.7, markeredgewidth=0, label=name
        )
    for side, values, set_scale in ((axis.xaxis, clean, axis.set_xscale), (axis.yaxis, poison, axis.set_yscale)):
        if not (values > 0).any():  # of a victim that diverged
            continue
        set_scale("log")
        near = values.max() < 100 * values[values > 0].min(initial=values.max())
        side.set_major_locator(LogLocator(subs=(1, 3) if near else (1,)))
        side.set_minor_locator(NullLocator())
        side.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.tick_params(labelsize=8)
    axis.grid(color="#dddddd", linewidth=0.5)


def _words(seeds: Sequence[Measured]) -> list[str]:
    last = seeds[0][0]["layer"][-1].as_py()
    abouts = [about for _, about in seeds]
    found = []
    for name, layer in (("last layer", last), ("all layers", "all")):
        control = _over_seeds(abouts, "control", layer).mean
        beside = "" if control is None else f", control {control:.2f}"
        found.append(f"{name}: ρ = {_format_interval(_over_seeds(abouts, 'poison', layer))}{beside}".replace("-", "−"))
    for kind in ("clean", "poison"):
        short_of = [went["kept"] for about in abouts if (went := about["unlearning"][kind])["kept"] > went["stop"]]
        if short_of:
            found.append(f"{kind} unlearning ended at {100 * max(short_of):.0f} %")
    return found


def _over_seeds(abouts: Sequence[dict[str, Any]], kind: str, layer: str) -> Estimate:
    """Spearman's correlation with the clean unlearning, where it is defined."""
    values = [about["correlation"][kind][layer]["spearman"] for about in abouts]
    return estimate([value for value in values if value is not None])


def _format_interval(found: Estimate) -> str:
    ends = found.interval(-1.0, 1.0)
    if found.mean is None or ends is None:
        return "–" if found.mean is None else f"{found.mean:.2f}"
    return f"{found.mean:.2f} [{ends[0]:.2f} to {ends[1]:.2f}]"
