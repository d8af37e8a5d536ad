"""Which files the folder of a pretrained encoder must hold: asked before a run, without torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.common.errors import join_names

FILES = {
    "timm": ("config.json", "model.safetensors"),
    "open_clip": ("open_clip_config.json", "open_clip_model.safetensors"),
    "transformers": ("config.json", "preprocessor_config.json", "*.safetensors"),
}
"""Each library's own format, as its models lie on the Hugging Face hub."""


def find_sources(traits: Mapping[str, Any], fields: Mapping[str, Any]) -> tuple[Path, ...]:
    """The files that an auxiliary of these traits and fields is read from; nothing if it is trained. Of a pattern that
    no file matches, the pattern."""
    if not traits.get("hub"):
        return ()
    folder = Path(fields["folder"])
    return tuple(path for name in FILES[fields["library"]] for path in sorted(folder.glob(name)) or [folder / name])


def find_missing(traits: Mapping[str, Any], fields: Mapping[str, Any]) -> str:
    """What is not there of the weights that an auxiliary of these traits and fields is read from, and what to put
    where; nothing if all is there, or if it is trained."""
    if not traits.get("hub"):
        return ""
    folder, files = Path(fields["folder"]), FILES[fields["library"]]
    missing = [name for name in files if not any(folder.glob(name))]
    if not missing:
        return ""
    pickles = any(path.suffix in (".bin", ".pt", ".pth") for path in folder.glob("*"))
    refused = " (pickles are not opened: save them as safetensors)" if pickles else ""
    return (
        f"{folder}: there is no {join_names(missing)}{refused}; put the files of {traits['hub']} there: "
        f"{join_names(files)}"
    )
