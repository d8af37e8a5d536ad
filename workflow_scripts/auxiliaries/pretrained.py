"""Encoders that others have trained, from a local folder."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn

from workflow_scripts.auxiliaries import Auxiliary
from workflow_scripts.auxiliaries._folders import find_missing
from workflow_scripts.common.errors import UserError, join_names
from workflow_scripts.common.fields import ModelName, Whole
from workflow_scripts.common.run import Run
from workflow_scripts.models.encoder import Encoder, Library, find_network_class, import_library, pool
from workflow_scripts.networks import weights
from workflow_scripts.networks.model import Model


class Loaded(NamedTuple):
    """What a library read from a folder: the network, what `Encoder.config` needs, and the preparation of images."""

    tower: nn.Module
    model: dict[str, Any]
    mean: list[float]
    std: list[float]
    size: int
    interpolation: str


@dataclass(frozen=True)
class Pretrained(Auxiliary):
    """Any image encoder: library and folder; size: pixels of the square that images are stretched to, 0 for what the
    encoder was trained on (a convolutional one takes others, at less cost).

    Nothing is downloaded, and no pickle is opened: weights are safetensors.
    """

    seedless = True
    hub = "a model of that library on the Hugging Face hub"

    backbone: ModelName = "encoder"
    library: Library = "timm"
    folder: str = "data/pretrained"
    size: Whole = 0

    def __call__(self, model: Model, run: Run) -> Model:
        if not isinstance(model.architecture, Encoder):
            raise UserError(f"an extractor of {self.folder} has the backbone encoder, not {model.name}")
        found = self._read()
        size = self.size or found.size
        architecture = replace(
            model.architecture,
            library=self.library,
            config=json.dumps({"model": found.model, "mean": found.mean, "std": found.std}, sort_keys=True),
            interpolation="bilinear" if found.interpolation == "bilinear" else "bicubic",
            size=size,
            features=self._width(found.tower, size),
        )
        filled = weights.build(model.name, asdict(architecture), model.format, run)
        filled.network.get_submodule("tower").load_state_dict(found.tower.state_dict())
        return filled

    def _read(self) -> Loaded:
        if missing := find_missing({"hub": self.hub}, asdict(self)):
            raise UserError(missing)
        folder = Path(self.folder)
        import_library(self.library)
        try:
            return READERS[self.library](folder)
        except Exception as error:  # each library has its own for what stands in a file
            raise UserError(f"{folder}: {self.library} cannot load it: {_line(error)}") from error

    def _width(self, tower: nn.Module, size: int) -> int:
        try:
            with torch.no_grad():
                return pool(tower.eval()(torch.zeros(1, 3, size, size))).shape[1]
        except (RuntimeError, ValueError, AttributeError, AssertionError) as error:
            raise UserError(f"{self.folder}: no features of images of {size} pixels: {_line(error)}") from error


def _timm(folder: Path) -> Loaded:
    timm = import_library("timm")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    network = timm.create_model(f"local-dir:{folder}", pretrained=True)  # as it was trained: strictly
    network.reset_classifier(0)
    model = {"architecture": config["architecture"], "model_args": config.get("model_args") or {}}
    model["model_args"].pop("num_classes", None)
    images = timm.data.resolve_model_data_config(network)
    mean, std = list(images["mean"]), list(images["std"])
    return Loaded(network, model, mean, std, images["input_size"][1], images["interpolation"])


def _open_clip(folder: Path) -> Loaded:
    open_clip = import_library("open_clip")
    clip = open_clip.create_model(f"local-dir:{folder}", precision="fp32", require_pretrained=True)
    images = open_clip.get_model_preprocess_cfg(clip)
    config = open_clip.get_model_config(f"local-dir:{folder}")
    model = {key: config[key] for key in ("embed_dim", "vision_cfg", "quick_gelu") if key in config}
    model["vision_cfg"]["timm_model_pretrained"] = False
    size = images["size"] if isinstance(images["size"], int) else images["size"][0]
    return Loaded(clip.visual, model, list(images["mean"]), list(images["std"]), size, images["interpolation"])


def _transformers(folder: Path) -> Loaded:
    transformers = import_library("transformers")
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    config = getattr(config, "vision_config", config)
    with _silent(transformers.logging):  # its report names every weight of the text part
        network, report = find_network_class(config).from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            key_mapping={r"^vision_model\.": ""},  # of a model of images and texts, the image part alone
            output_loading_info=True,
        )
    if report["missing_keys"]:
        raise ValueError(f"no weights for {join_names(sorted(report['missing_keys'])[:3])}")
    prepare = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    black, white = (np.full((64, 64, 3), value, np.uint8) for value in (0, 255))
    prepared = prepare(images=[black, white], return_tensors="pt")["pixel_values"]
    low, high = prepared.mean((2, 3))  # what it takes off and divides by stands in several keys of its file
    mean, std = (-low / (high - low)).tolist(), (1 / (high - low)).tolist()
    interpolation = "bilinear" if prepare.resample == Image.Resampling.BILINEAR else "bicubic"
    return Loaded(network, config.to_dict(), mean, std, prepared.shape[2], interpolation)


@contextmanager
def _silent(logging: Any) -> Iterator[None]:
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


READERS: dict[str, Callable[[Path], Loaded]] = {"timm": _timm, "open_clip": _open_clip, "transformers": _transformers}
