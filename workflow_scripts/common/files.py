"""Files that are whole or not there: written beside their place and renamed; read with one clear error."""

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from safetensors import safe_open

from workflow_scripts.common.errors import UserError

KEY = "backstop"
"""The one metadata key of every Parquet and safetensors file: a JSON object."""
SOURCES = "sources"
"""Its key for the hash of what users put below `data/`, of what is made of that (`common/sources.py`)."""
HOST = platform.node()


@contextmanager
def writing(path: str | Path) -> Iterator[Path]:
    """A temporary name in the folder of `path`, renamed to it when the block ends well; who may read it is what the
    user's umask says, whatever the library that wrote it thinks."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left(path)
    temporary = path.with_name(f".{path.stem}.{HOST}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        temporary.chmod(0o666 & ~_read_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_left(path: Path) -> None:
    """What processes of this machine were writing in place of a file when they were killed."""
    for left in path.parent.glob(f".{path.stem}.{HOST}.*{path.suffix}"):
        with suppress(PermissionError, ValueError):  # it lives, another user's; it is none of these
            try:
                os.kill(int(left.stem.rpartition(".")[2]), 0)  # whether it lives
            except ProcessLookupError:
                left.unlink(missing_ok=True)


def _read_umask() -> int:
    umask = os.umask(0o077)  # the one way to read it is to set it
    os.umask(umask)
    return umask


def sha256(path: str | Path) -> str:
    """SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON that is the same bytes for the same value."""
    with writing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read JSON; UserError if it is none."""
    with reading_artifact(path, "JSON"):
        return parse_json(Path(path).read_text(encoding="utf-8"))


def parse_json(text: str | bytes) -> Any:
    """What JSON says; ValueError if it is none, or says a key twice."""
    return json.loads(text, object_pairs_hook=_to_dict)


def _to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"one of the keys {', '.join(found)[:60]} stands there twice")
    return found


def parse_about(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    """What stands under the metadata key; ValueError if that is no JSON object."""
    found = parse_json((metadata or {}).get(KEY.encode(), b"{}"))
    if not isinstance(found, dict):
        raise ValueError(f"its metadata is no JSON object: {found!r:.60}")
    return found


def read_about(path: str | Path) -> dict[str, Any]:
    """What stands under the metadata key of a Parquet or safetensors file."""
    if Path(path).suffix == ".safetensors":
        with reading_artifact(path, "safetensors"), safe_open(path, "numpy") as file:
            return parse_about({key.encode(): value.encode() for key, value in (file.metadata() or {}).items()})
    with reading_artifact(path, "Parquet"):
        return parse_about(pq.read_schema(path).metadata)


def hash_provenance(about: Mapping[str, Any]) -> str:
    """Of the metadata of an artifact, or of what a job is made by: one hash of code, hyper-parameters, wildcards and,
    where there are some, sources."""
    kept = {key: about.get(key) for key in ("fingerprint", "params", "wildcards", *({SOURCES} & about.keys()))}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def reading(path: str | Path, kind: str, remedy: str = "") -> Iterator[None]:
    """A block that reads `path` and does nothing else: one clear UserError, with the remedy, whatever is wrong."""
    place = Path(path)
    try:
        if place.exists() and not (place.is_file() or place.is_dir()):  # before it is waited for
            raise UserError(f"{path} is a pipe or a device; put a file there")
        yield
    except UserError as error:
        if str(place) in str(error):
            raise
        raise UserError(f"{path}: {error}{remedy}") from None
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file") from None
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or "it ends too soon"
        named = "" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: "
        raise UserError(f"{path}: not a readable {kind} file ({named}{reason}){remedy}") from None


def reading_artifact(path: str | Path, kind: str) -> AbstractContextManager[None]:
    """The same of what this pipeline has made, and can make again: a link to a cache is mended where it leads."""
    broken = os.path.realpath(path) if Path(path).is_symlink() else "it"
    return reading(path, kind, f"; remove {broken} and run again")
