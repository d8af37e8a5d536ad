"""What all figures share: style, names, saving."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from workflow_scripts.common import catalog, files
from workflow_scripts.common.cells import Study
from workflow_scripts.reporting.aggregate import format_spelling, read_study_rows

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000", "#8C6D31", "#6A3D9A", "#999999")
"""Okabe and Ito's colour-blind-safe eight (2008; their yellow, too pale on white, replaced), and two beside them."""
MARKERS = "osD^vPX<>*"
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
}


def wrap_label(spelling: str) -> str:
    """A spelling as a label: its name, and below it its hyper-parameters, in lines that leave room for the picture."""
    name, _, fields = format_spelling(spelling).partition(" ")
    return "\n".join([name, *textwrap.wrap(fields, 22)])


def draw(spelling: str, options: Mapping[str, Any], study: Study, inputs: Any) -> Figure:
    """The figure of this name, handed the rows of its study and the analyses that its signature names."""
    name = catalog.method_name(spelling)
    given: dict[str, Any] = {"study": study, "rows": read_study_rows(study, inputs.metrics)}
    asked = catalog.describe("figures", name).asks
    for analysis in asked:
        if analysis in catalog.list_methods("analyses"):
            paths: Sequence[str] = [inputs[analysis]] if isinstance(inputs[analysis], str) else inputs[analysis]
            given[analysis] = [files.read_table(path) for path in paths]
    with plt.rc_context(STYLE):
        return catalog.make("figures", name, options)(**{key: given[key] for key in asked})


def save(figure: Figure, output: Any) -> None:
    """PNG and PDF, without the time of day: the same rows make the same bytes."""
    for path in (output.png, output.pdf):
        with files.writing(path) as temporary:
            figure.savefig(temporary, metadata={"CreationDate": None} if path.endswith("pdf") else {"Software": None})
    plt.close(figure)
