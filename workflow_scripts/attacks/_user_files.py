"""What attacks read that no job makes, the user's pictures and others' records: asked before a run, without torch. The
trait `pictures` of an attack says which of its fields name a picture, `of_record` which parts of a record it reads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.attacks._pictures import DRAWN, PICTURES, list_named, read_picture
from workflow_scripts.attacks._records import RECORDS, find_part
from workflow_scripts.common.errors import UserError, join_names


def find_sources(traits: Mapping[str, Any], fields: Mapping[str, Any]) -> tuple[Path, ...]:
    """The files and folders that an attack of these traits and fields reads; of a picture that is not there, a place
    where there is none."""
    pictures = [path for name in _name_pictures(traits, fields) for path in list_named(name) or [PICTURES / name]]
    return (*pictures, *_find_parts(traits, fields))


def find_missing(traits: Mapping[str, Any], fields: Mapping[str, Any]) -> str:
    """Why an attack of these traits and fields cannot have one of them, in a line; nothing if it can, or needs none."""
    for name in _name_pictures(traits, fields):
        try:
            read_picture(name)
        except UserError as error:
            return str(error)
    missing = [path for path in _find_parts(traits, fields) if not path.exists()]
    if not missing:
        return ""
    there = join_names(sorted(path.name for path in RECORDS.glob("[!.]*"))) if RECORDS.is_dir() else "nothing"
    told = "`python -m workflow_scripts given_victim` says what goes there"
    return f"{missing[0]} is not there; {RECORDS} holds: {there}; {told}"


def _name_pictures(traits: Mapping[str, Any], fields: Mapping[str, Any]) -> list[str]:
    """The pictures of the user's."""
    return [fields[key] for key in traits.get("pictures", ()) if fields[key] != DRAWN]


def _find_parts(traits: Mapping[str, Any], fields: Mapping[str, Any]) -> list[Path]:
    """Where the parts of a record stand."""
    return [find_part(fields["record"], part) for part in traits.get("of_record", ())]
