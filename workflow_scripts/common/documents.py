"""YAML that people write, read strictly: nothing in it is overridden or expanded without end."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from workflow_scripts.common import files

LARGEST = 256 * 1024
"""Bytes."""
MOST = 100_000
"""Keys and values, those behind an alias counted each time that it stands there."""
DEEPEST, DIGITS = 50, 1000


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
        loader, node = _compose(content)
        if node is None:
            return None
        for count, (part, depth) in enumerate(_walk(node)):  # before it is built: merged keys expand there
            if count > MOST or depth > DEEPEST:
                raise ValueError(f"more than {MOST} values, or more than {DEEPEST} within each other")
            if part.tag.endswith(":int") and len(part.value) > DIGITS:
                raise ValueError(f"line {part.start_mark.line + 1}: a number of more than {DIGITS} digits")
        return loader.construct_document(node)


def _compose(content: bytes) -> tuple[_Loader, yaml.Node | None]:
    """A loader and the document that it has read. ValueError with the place where it is no YAML."""
    try:
        loader = _Loader(content)
        return loader, loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{place}{error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        raise ValueError(f"at byte {error.position}: {error.reason}; save it as UTF-8") from None


def _walk(node: yaml.Node) -> Iterator[tuple[yaml.Node, int]]:
    """Each node with its depth; one that holds itself has no end."""
    waiting = [(node, 0)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        if isinstance(node, yaml.CollectionNode):
            pairs = isinstance(node, yaml.MappingNode)
            waiting += [(part, depth + 1) for part in (itertools.chain(*node.value) if pairs else node.value)]
