"""Tables in LaTeX, for `\\usepackage{booktabs, graphicx}`."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from workflow_scripts.reporting.layout import Part, flatten

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_"},
    "–": "--",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "<": "$<$",
    ">": "$>$",
}
"""What stands for the characters that LaTeX reads otherwise."""


def escape(text: str) -> str:
    """A text that LaTeX prints as it is."""
    return "".join(SPECIAL.get(character, character) for character in text)


def to_latex(title: str, stem: str, parts: Sequence[Part], notes: Sequence[str]) -> str:
    """A float for each part, none wider than the text; controls behind a rule, in italics. stem: of its files."""
    label = "tab:" + stem.replace("/", "-")
    return "\n".join(
        _float(part, write_caption(title, part, [] if at else notes), f"{label}-{at + 1}" if at else label)
        for at, part in enumerate(parts)
    )


def write_caption(title: str, part: Part, notes: Sequence[str]) -> str:
    """Whole sentences: the title, what of it this part shows, and the notes, which stand at the first part."""
    about = f" This part shows {', '.join(part.heading)}." if part.heading else ""
    rest = " ".join(notes) or "The notes of the first part hold here, too."
    end = "" if title.endswith((".", "?", "!")) else "."
    return f"{title}{end}{about} {rest}"


def _float(part: Part, caption: str, label: str) -> str:
    frame = flatten(_escape(part), r"\textit{{{}}}".format)
    left = part.frame.index.nlevels
    across = frame.shape[1] - left
    split = f"|{'r' * part.controls}" if part.controls and not part.turned else ""
    form = "l" * left + "r" * (across - (part.controls if split else 0)) + split
    body = str(frame.to_latex(column_format=form, index=False))
    if part.controls and part.turned and part.controls < len(frame):
        lines = body.splitlines()
        first = lines.index(r"\bottomrule") - part.controls
        body = "\n".join([*lines[:first], r"\midrule", *lines[first:]])
    fitted = "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%\n" + body.strip() + "}"
    return "\n".join(
        ["\\begin{table}[tp]", "\\centering", f"\\caption{{{escape(caption)}}}", f"\\label{{{label}}}", fitted]
        + ["\\end{table}", ""]
    )


def _escape(part: Part) -> Part:
    frame = part.frame.map(escape)
    frame.index, frame.columns = _escape_index(frame.index), _escape_index(frame.columns)
    return replace(part, frame=frame)


def _escape_index(index: pd.Index) -> pd.Index:
    names = [escape(str(name or "")) for name in index.names]
    if isinstance(index, pd.MultiIndex):
        return pd.MultiIndex.from_tuples([tuple(map(escape, at)) for at in index], names=names)
    return pd.Index([escape(str(name)) for name in index], name=names[0])
