"""What a reader must know beside the numbers of a table, in sentences."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from workflow_scripts.common.cells import Study, Table
from workflow_scripts.evaluation.averages import Place, are_alike
from workflow_scripts.evaluation.checks import MARKS, Row
from workflow_scripts.evaluation.rows import format_label
from workflow_scripts.reporting.aggregate import Averaged, TableCell, format_spelling
from workflow_scripts.reporting.estimates import describe_estimates


def write_notes(
    study: Study,
    table: Table,
    rows: Sequence[Row],
    found: Sequence[TableCell],
    averaged: Sequence[Averaged],
    absent: int,
) -> list[str]:
    """Sentences: what was run, what is shown, over how many seeds, what marks and averages mean, what is missing."""
    paired = table.kind == "paired"
    counts = [place.estimate.n for place in found if place.estimate.n]
    notes = [_setting(table, rows), describe_estimates(counts, -1.0 if paired else 0.0)]
    if paired:
        names = join_words([format_spelling(name) for name in table.against])
        each = ", each column to that of its own method" if len(table.against) > 1 else ""
        notes.append(f"It is the difference to {names} at the same victim and seed{each}, in points.")
    notes += describe_marks({check for place in found for check in place.failed})
    notes += [*_describe_averages(averaged), *describe_absent(study, absent)]
    return [note for note in notes if note]


def describe_marks(failed: Collection[str]) -> list[str]:
    """What the letters beside numbers mean, where there are failed checks."""
    legend = ", ".join(f"{mark} {check}" for check, mark in MARKS.items() if check in failed)
    return [f"Letters mark failed checks, with how many of the seeds where not all: {legend}."] if failed else []


def describe_absent(study: Study, absent: int) -> list[str]:
    """How many cells are missing, where there are any."""
    if not absent:
        return []
    lacking = f"{absent} of {len(study.cells)} cells have not been computed, and no check is made that needs one"
    return [f"The table is partial: {lacking} of them."]


def _setting(table: Table, rows: Sequence[Row]) -> str:
    """`The dataset is digits, the poisoning ratio 0.1 (sig 0.08).`: what no row or column says."""
    shown = {*table.rows, *table.columns}
    parts = []
    for axis in ("dataset", "model", "attack", "defense"):
        names = dict.fromkeys(format_label(row, [axis]) for row in rows)
        if axis not in shown and names:
            parts.append((axis, join_words([format_spelling(name) for name in names])))
    attacked = [row for row in rows if row["attack"] != "none"]
    named = ["dataset", "attack"] if len({row["dataset"] for row in attacked}) > 1 else ["attack"]
    attacks = dict.fromkeys((format_label(row, named), format_label(row, ["ratio"])) for row in attacked)
    if "ratio" not in shown and attacks:
        usual = Counter(ratio for _, ratio in attacks).most_common(1)[0][0]
        others = [f"{format_spelling(victim)} {ratio}" for victim, ratio in attacks if ratio != usual]
        parts.append(("poisoning ratio", usual + (f" ({', '.join(others)})" if others else "")))
    said = [f"the {name} {'is ' if at == 0 else ''}{value}" for at, (name, value) in enumerate(parts)]
    return f"T{join_words(said)[1:]}." if said else ""


def _describe_averages(averaged: Iterable[Averaged]) -> list[str]:
    """What each average counts, those of equal places in one sentence."""
    alike: dict[str, list[Averaged]] = {}
    for one in averaged:
        alike.setdefault(name_places(one.places), []).append(one)
    found = []
    for places, group in alike.items():
        names = [format_spelling(f"{one.block} {one.row}".strip()) for one in group]
        where = f" ({join_words(names)})" if len(alike) > 1 or names != ["average"] else ""
        counted = f"over {places}, the {len(group[0].places)} cells that" if places else "over nothing: no cell"
        found.append(f"Averages{where} are {counted} {'have' if places else 'has'} an implanted victim in all columns.")
    if found:
        found.append("A column that lacks one of them, or diverged there, has no average.")
    if not all(are_alike(one.places) for one in averaged):
        found.append("Where seeds have not the same attacks, an average has no range: it would be one of attacks.")
    return found


def name_places(places: Sequence[Place]) -> str:
    """`badnets and sig (seeds 0 to 2), wanet (seeds 0, 2)`."""
    attacks: dict[str, list[int]] = {}
    for attack, seed in places:
        attacks.setdefault(format_spelling(attack), []).append(seed)
    alike: dict[str, list[str]] = {}
    for attack, seeds in attacks.items():
        alike.setdefault(name_seeds(seeds), []).append(attack)
    return ", ".join(f"{join_words(names)} ({seeds})" for seeds, names in alike.items())


def name_seeds(seeds: Iterable[int]) -> str:
    """`seed 1`, `seeds 0 to 2`, `seeds 0, 2`."""
    own = sorted(set(seeds))
    if len(own) == 1:
        return f"seed {own[0]}"
    whole = own == list(range(own[0], own[-1] + 1))
    return f"seeds {own[0]} to {own[-1]}" if whole else f"seeds {', '.join(map(str, own))}"


def join_words(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
