"""Networks on disk: safetensors, whose metadata says how to build the network again, loaded strictly. Never pickles:
opening somebody's backdoored model must not run their code."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from workflow_scripts.common import catalog, files
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import ImageFormat
from workflow_scripts.common.run import Run
from workflow_scripts.networks.model import Extractor, Model
from workflow_scripts.networks.recipe import Recipe


def build(
    name: str, params: Mapping[str, Any], form: ImageFormat, run: Run, extractor: Extractor | None = None
) -> Model:
    """A network of this architecture, its weights drawn from the stream `initialisation`, on the run's device."""
    with run.seeded("initialisation"):
        try:
            model = Model(name, catalog.make("models", name, params), form, extractor).to(run.device)
            _try_out(model)
        except UserError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError, AssertionError, AttributeError) as error:
            reason = " ".join(str(error).split())[:150]
            height, width, channels = form.shape
            raise UserError(
                f"{name} cannot take images of {height}x{width} pixels and {channels} channels: {reason}"
            ) from error
    return model


@torch.no_grad()
def _try_out(model: Model) -> None:
    """UserError where the network gives something else than logits for the dataset's images."""
    if model.extractor is not None or not model.architecture.classifies:
        return
    height, width, channels = model.format.shape
    logits = model.eval()(torch.zeros(2, channels, height, width, dtype=torch.uint8, device=model.mean.device))
    model.train()
    if logits.shape != (2, len(model.format.classes)):
        raise UserError(
            f"{model.name} gives values of shape {tuple(logits.shape)} for two images; it must give "
            f"{len(model.format.classes)} logits for each"
        )


def save(path: str | Path, model: Model, about: Mapping[str, Any]) -> None:
    """Write the network's weights with everything that is needed to build it again."""
    architecture = {"name": model.name, **asdict(model.architecture)}
    wrapper = {"name": catalog.file_name(model.wrapper), **asdict(model.wrapper)} if model.wrapper else None
    stored = {**about, **model.format.as_json(), "architecture": architecture, "wrapper": wrapper}
    state = {key: value.cpu().contiguous() for key, value in model.network.state_dict().items()}
    with files.writing(path) as temporary:
        save_file(state, temporary, {files.KEY: json.dumps(stored, sort_keys=True)})


def load(
    path: str | Path, name: str, params: Mapping[str, Any], device: torch.device, extractor: Extractor | None = None
) -> Model:
    """The network that `path` holds. UserError if that is not whole, or not of this architecture."""
    stored = _read_architecture(path)
    expected = {"name": name, **params}
    trained_by = {field.name for field in fields(Recipe)}
    differing = [
        key
        for key in expected.keys() | stored.keys()
        if key not in trained_by and _plain(stored.get(key)) != _plain(expected.get(key))
    ]
    if differing:
        holds, wants = ({key: d.get(key) for key in sorted(differing)} for d in (stored, expected))
        raise UserError(
            f"{path}: a checkpoint of another architecture: it holds {holds}, this cell is {wants}; "
            "remove it and run again"
        )
    return _read(path, expected, device, extractor)


def fill(model: Model, path: str | Path) -> None:
    """Give a network the weights of a state dict that nothing is said about. UserError if they are not its own."""
    with files.reading(path, "safetensors"):
        state, wanted = load_file(path), model.network.state_dict()
        if differing := sorted(state.keys() ^ wanted.keys()):
            held = "is missing" if differing[0] in wanted else "is none of them"
            raise ValueError(f"its tensors are not those of {model.name}: {differing[0]} {held}")
        _check_tensors(state, wanted)
        model.network.load_state_dict(state, strict=True)


def load_frozen(path: str | Path, device: torch.device) -> Model:
    """The network that `path` holds, frozen: an auxiliary, or any victim or defended model that takes images; its own
    metadata says what it is."""
    return _read(path, _read_architecture(path), device).requires_grad_(False)


def _read_architecture(path: str | Path) -> dict[str, Any]:
    with files.reading_artifact(path, "safetensors"):
        found = files.read_about(path).get("architecture")
        if not isinstance(found, dict) or not isinstance(found.get("name"), str):
            raise ValueError(f"its metadata names no architecture: {found!r:.60}")
        return found


def _read(
    path: str | Path, architecture: Mapping[str, Any], device: torch.device, extractor: Extractor | None = None
) -> Model:
    with files.reading_artifact(path, "safetensors"):
        about = files.read_about(path)
        params = {key: value for key, value in architecture.items() if key != "name"}
        made = catalog.make("models", architecture["name"], params)
        model = Model(architecture["name"], made, ImageFormat.from_json(about), extractor)
        if about["wrapper"]:
            wrapper = dict(about["wrapper"])
            model.wrap(catalog.make("wrappers", wrapper.pop("name"), wrapper))
        state = load_file(path)
        model.network.load_state_dict(state, strict=True)
        _check_tensors(state, model.network.state_dict())
        return model.to(device).eval()


def _check_tensors(found: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> None:
    """ValueError if a tensor is missing, or of another type or shape: torch has defaults for some, and converts."""
    for key, tensor in wanted.items():
        held = (found[key].dtype, tuple(found[key].shape)) if key in found else "missing"
        if held != (tensor.dtype, tuple(tensor.shape)):
            raise ValueError(f"its tensor {key} is {held}; it must be {tensor.dtype} of shape {tuple(tensor.shape)}")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
