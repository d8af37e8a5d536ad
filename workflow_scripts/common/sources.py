"""What users put below `data/`: raw images, pictures, the weights of others. No rule makes them, and they are too many
to be inputs of one; a hash of their content stands among what a job is made by in their stead."""

import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from workflow_scripts.common import files
from workflow_scripts.common.errors import UserError

KNOWN = Path(".snakemake/backstop_sources.json")
"""Hashes of content by hashes of a listing (name, size, times of change), so that no plan reads the same bytes
again."""
LITTER = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir")
"""What Windows, macOS and network drives leave in any folder, in small letters."""
FOUND = "found"
"""In the metadata of an artifact, beside the hash of when its job was planned, that of when it was done: a job that
downloads what it reads is planned without."""


def agree(sources: tuple[Path, ...], artifact: str) -> str:
    """The hash that stands for these files and folders in what an artifact is made by: their content's today, `` where
    one is not there. An artifact that was made of just these, or of some that are gone since, keeps what it says."""
    today, said = hash_content(sources), _read_about(artifact)
    kept = said.get(files.SOURCES, "")
    return kept if today in ("", kept, said.get(FOUND, kept)) else today


def _read_about(artifact: str) -> dict[str, Any]:
    with suppress(UserError):  # nothing yet, or broken: then it is made again
        return files.read_about(artifact)
    return {}


@functools.cache
def hash_content(sources: tuple[Path, ...]) -> str:
    """SHA-256 of the names and the bytes of these files, and of all that these folders visibly hold; `` where one is
    not there or may not be read."""
    try:
        listing = [(path, path.relative_to(source.parent)) for source in sources for path in _list_files(source)]
        if not listing:
            return ""
        key = _hash((str(path), (s := path.stat()).st_size, s.st_mtime_ns, s.st_ctime_ns) for path, _ in listing)
        known = _read_known()
        if key not in known:
            known[key] = _hash((name.as_posix(), files.sha256(path)) for path, name in listing)
            files.write_json(KNOWN, known)
    except OSError:
        return ""
    return str(known[key])


def _list_files(source: Path) -> Iterator[Path]:
    """The files of a source, in the order of their names. OSError if it is not there."""
    if not source.is_dir():
        yield source
        return
    for path in list_visible(source):
        yield from _list_files(path)


def list_visible(folder: Path) -> list[Path]:
    """What lies in a folder, by name, but for LITTER and for what is hidden (names that begin with a dot)."""
    return sorted(path for path in folder.iterdir() if not (path.name[0] == "." or path.name.lower() in LITTER))


def _hash(rows: Iterable[tuple[Any, ...]]) -> str:
    return hashlib.sha256("\n".join(map(repr, rows)).encode()).hexdigest()[:16]


def _read_known() -> dict[str, Any]:
    with suppress(UserError):
        known = files.read_json(KNOWN)
        return dict(known) if isinstance(known, Mapping) else {}
    return {}
