"""What all figures share: style, names, saving."""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from workflow_scripts.analyses import Measured
from workflow_scripts.common import arrow, catalog, files, spellings
from workflow_scripts.common.cells import Study, cell_of
from workflow_scripts.evaluation.collecting import SCHEMA
from workflow_scripts.evaluation.costs import COSTS
from workflow_scripts.evaluation.rows import name_axes, name_references, name_rows, rename_defenses
from workflow_scripts.reporting.published import read_published
from workflow_scripts.reporting.spending import add_costs

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000", "#8C6D31", "#6A3D9A", "#999999")
"""Okabe and Ito's color-blind-safe eight (2008; their yellow, too pale on white, replaced), and two beside them."""
MARKERS = "osD^vPX<>*"
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
}


def draw(spelling: str, options: Mapping[str, Any], study: Study, inputs: Any) -> Figure:
    """The figure of this name, handed what its signature names: the study, its rows, the references (the rows of the
    undefended and the clean models), its rows with their costs, published numbers, and analyses."""
    name = spellings.method_name(spelling)
    rows = arrow.read_table(inputs.metrics, SCHEMA)[0].to_pylist()
    given: dict[str, Any] = {
        "study": study,
        "rows": name_rows(study, rows),
        "references": name_references(study, rows),
    }
    asked = catalog.describe("figures", name).asks
    if "costs" in asked:
        given["costs"] = name_rows(study, add_costs(rows, arrow.read_table(inputs.costs, COSTS)[0].to_pylist()))
    if "published" in asked:
        given["published"] = read_published(inputs.published)
    analyses: dict[str, list[Measured]] = {}
    for analysis in (key for key in asked if key in catalog.list_methods("analyses")):
        paths: Sequence[str] = [inputs[analysis]] if isinstance(inputs[analysis], str) else inputs[analysis]
        analyses[analysis] = name_measured(study, [arrow.read_table(path) for path in paths])
    given |= analyses
    with plt.rc_context(STYLE):
        figure: Figure = catalog.make("figures", name, options)(**{key: given[key] for key in asked})
        if not any(axis.has_data() or axis.texts for axis in figure.axes):
            write_over(figure, describe_nothing(analyses))
        return figure


def write_over(figure: Figure, lines: Sequence[str]) -> None:
    """Put these lines in place of empty panels."""
    text = "\n".join(textwrap.fill(line, int(8 * figure.get_figwidth())) for line in lines)
    figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=9, color="#777777")
    for axis in figure.axes:
        axis.set_visible(False)


def describe_nothing(analyses: Mapping[str, Sequence[Measured]]) -> list[str]:
    """Why a figure that draws these has nothing to draw, a line for each reason."""
    lines = ["nothing to show"]
    for analysis, found in analyses.items():
        skipped = Counter(about["skipped"] for _, about in found if "skipped" in about)
        lines += [f"{analysis}: {reason} ({count} of {len(found)} cells)" for reason, count in skipped.items()]
        if not found:
            lines.append(f"{analysis}: no cell of the study has what it reads")
    return lines


def name_measured(study: Study, found: Sequence[Measured]) -> list[Measured]:
    """What analyses found, in the order of the study and with its names; what is of victims, by the victims' names."""
    by_cell = {cell_of(about): (table, about) for table, about in found}
    names = dict.fromkeys((*study.asked, *rename_defenses(study, ("none",))))
    return [(by_cell[cell][0], by_cell[cell][1] | name_axes(name)) for cell, name in names if cell in by_cell]


def save(figure: Figure, output: Any) -> None:
    """PNG and PDF, without the time of day: the same rows make the same bytes."""
    for path in (output.png, output.pdf):
        with files.writing(path) as temporary:
            figure.savefig(temporary, metadata={"CreationDate": None} if path.endswith("pdf") else {"Software": None})
    plt.close(figure)
