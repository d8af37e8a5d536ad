"""YAML that people write, read strictly: nothing in it is overridden or expanded without end."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from workflow_scripts.common import files

LARGEST = 256 * 1024
"""Bytes."""
MOST = 100_000
"""Values, those behind an alias counted each time that it stands there."""
DEEPEST = 50


class _Loader(yaml.SafeLoader):
    """PyYAML takes the last of two equal keys."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise ValueError(f"line {key.start_mark.line + 1}: the key {key.value} stands there a second time")
            seen.add(key.value)
        return node


def read_yaml(path: str | Path) -> Any:
    """What a YAML file says. UserError with the line if it is none, says a key twice, or never ends."""
    with files.reading(path, "YAML"):
        content = Path(path).read_bytes()
        if len(content) > LARGEST:
            raise ValueError(f"{len(content)} bytes; it may have {LARGEST}")
        value = yaml.load(content, _Loader)  # noqa: S506  (a SafeLoader)
        for count, depth in enumerate(_walk(value, 0)):
            if count > MOST or depth > DEEPEST:
                raise ValueError(f"more than {MOST} values, or more than {DEEPEST} within each other")
        return value


def _walk(value: Any, depth: int) -> Iterator[int]:
    """The depth of each value; one that holds itself has no end."""
    yield depth
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _walk(part, depth + 1)
