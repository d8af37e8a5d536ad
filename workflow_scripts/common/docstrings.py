"""What the docstrings of a method's source say: its title, what it is, its paper."""

import ast
import re

from workflow_scripts.common import catalog
from workflow_scripts.common.source import find_lineage, find_method_class, parse_source


def read_title(kind: str, method: str) -> str:
    """The docstring of a method's file, on one line."""
    return " ".join((ast.get_docstring(parse_source(catalog.source_file(kind, method))) or "").split())


def read_docstring(kind: str, method: str) -> str:
    """The docstring of a method's class; `` where it has none."""
    return ast.get_docstring(_find_class(kind, method)) or ""


def read_inherited(kind: str, method: str) -> dict[str, str]:
    """The docstrings of the classes that a method has fields from, nearest first, by the name of the class."""
    parents = find_lineage(catalog.source_file(kind, method), _find_class(kind, method))[1:]
    texts = {node.name: ast.get_docstring(node) for _, node in parents if _has_fields(node)}
    return {name: text for name, text in texts.items() if text}


def _has_fields(node: ast.ClassDef) -> bool:
    return any(isinstance(part, ast.AnnAssign) for part in node.body)


def _find_class(kind: str, method: str) -> ast.ClassDef:
    return find_method_class(catalog.source_file(kind, method), catalog.BASES[kind])


def read_first_sentence(kind: str, method: str) -> str:
    """The first sentence of a method's docstring, on one line; a period in parentheses ends none."""
    paragraph = " ".join(read_docstring(kind, method).partition("\n\n")[0].split())
    found = re.match(r"(?:\([^()]*\)|[^()])*?\.(?=\s|$)", paragraph)
    return found[0] if found else paragraph


def find_paper(text: str) -> str:
    """What the first parenthesis with a year says (authors; venue, arXiv); `` where there is none."""
    found = re.search(r"\(([^()\d][^()]*\b(?:19|20)\d\d\b[^()]*)\)", text)
    return found[1] if found else ""


def shorten_paper(paper: str) -> str:
    """`Lin et al., NeurIPS 2024` of all authors, the venue and its arXiv number."""
    parts = [part for part in re.split("[,;] ", paper) if not part.startswith("arXiv")]
    dated = next((at for at, part in enumerate(parts) if re.search(r"\b\d{4}\b", part)), None)
    if dated is None:
        return paper
    authors = parts[:dated] if dated < 3 else [f"{parts[0]} et al."]
    return ", ".join([*authors, parts[dated]])
