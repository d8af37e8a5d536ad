"""The sections as Markdown."""

from collections.abc import Mapping
from typing import Any


def to_markdown(found: Mapping[str, Any]) -> str:
    """A heading and a table for each section."""
    parts = []
    for name, section in found.items():
        columns = list(dict.fromkeys(key for row in section["rows"] for key in row))
        lines = [f"## {name}", "", f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
        lines += [f"| {' | '.join(to_text(row.get(key)) for key in columns)} |" for row in section["rows"]]
        parts.append("\n".join([*lines, "", f"{section.get('seconds', 0)} s."]))
    return "\n\n".join(parts) + "\n"


def to_text(value: Any) -> str:
    """A cell: numbers to four digits."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {value[key]}" for key in value)
    return "" if value is None else str(value)
