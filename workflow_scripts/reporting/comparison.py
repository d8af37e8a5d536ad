"""Ours beside what was published: one line for each attack and defense of each of our victims."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from workflow_scripts.common import spellings
from workflow_scripts.evaluation.checks import Row
from workflow_scripts.evaluation.rows import format_label, group_rows
from workflow_scripts.reporting.estimates import Estimate, estimate
from workflow_scripts.reporting.published import Published, find_nearest, find_undefended

VICTIM = ("dataset", "model", "attack", "ratio")
"""The axes that tell victims apart but for their seeds."""
Otherwise = Mapping[str, Mapping[str, Mapping[str, Sequence[str]]]]
"""By dataset, axis and name: `lr=0.1`, what a method is set to otherwise than by its own defaults."""


@dataclass(frozen=True)
class Line:
    """Our rows, which differ in their seed alone, and the published cell beside them; None where there is none."""

    rows: Sequence[Row]
    theirs: Published | None

    @property
    def defense(self) -> str:
        """Our defense, by the study's name and its protocol."""
        return format_label(self.rows[0], ["defense"])

    def ours(self, metric: str) -> Estimate:
        """Ours over seeds, a fraction."""
        return estimate([row[metric] for row in self.rows if row[metric] is not None])

    def published(self, metric: str) -> float | None:
        """Theirs, a fraction."""
        return getattr(self.theirs, metric) if self.theirs else None

    def difference(self, metric: str) -> float | None:
        """Our mean minus theirs; None where one of them is missing."""
        mean, theirs = self.ours(metric).mean, self.published(metric)
        return None if mean is None or theirs is None else mean - theirs

    def differing_axes(self) -> dict[str, tuple[str, str]]:
        """Along which axes ours is another than theirs: ours and theirs."""
        if self.theirs is None:
            return {}
        row, found = self.rows[0], {}
        for axis in VICTIM:
            ours, theirs = format_label(row, [axis]), format_label(self.theirs._asdict(), [axis])
            if ours != theirs:
                found[axis] = ours, theirs
        return found


def compare(rows: Sequence[Row], references: Sequence[Row], published: Sequence[Published]) -> list[Line]:
    """The lines of a study's rows: of each victim first the undefended model, once beside each source that its other
    lines are taken from, for numbers compare only within their own source; then its defenses. Controls and clean models
    were never published. references: the rows of the undefended models."""
    attacked = [row for row in rows if row["attack"] != "none" and not row["control"]]
    undefended = group_rows([row for row in references if row["defense"] == "none"], _label_victim)
    known = group_rows(published, lambda cell: spellings.method_name(cell.attack))
    found: list[Line] = []
    for victim, members in group_rows(attacked, _label_victim).items():
        own = known.get(spellings.method_name(members[0]["attack"]), [])
        defended = list(_compare_defenses([row for row in members if row["defense"] != "none"], own))
        taken = [line.theirs for line in defended if line.theirs]
        if bare := undefended.get(victim):
            beside = find_undefended(own, taken)
            found += [Line(bare, theirs) for theirs in beside] or [Line(bare, find_nearest(own, bare[0]))]
        found += defended
    return found


def describe_otherwise(line: Line, otherwise: Otherwise) -> str:
    """What ours set otherwise than the methods' own defaults: of a defense; of an undefended model, whose training and
    attack all its defenses share, of these."""
    row = line.rows[0]
    axes = ("model", "attack") if row["defense"] == "none" else ("defense",)
    found = {axis: otherwise.get(row["dataset"], {}).get(axis, {}).get(row[axis], ()) for axis in axes}
    named = {axis: f"{spellings.method_name(row[axis])} " if len(axes) > 1 else "" for axis in axes}
    return "; ".join(f"{named[axis]}{', '.join(texts)}" for axis, texts in found.items() if texts)


def _compare_defenses(rows: Iterable[Row], published: Sequence[Published]) -> Iterator[Line]:
    for seeds in group_rows(rows, lambda row: format_label(row, ["defense"])).values():
        yield Line(seeds, find_nearest(published, seeds[0]))


def _label_victim(row: Row) -> str:
    return format_label(row, VICTIM)
