"""Other people's encoders: tiny, randomly initialized, in their libraries' own files."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from workflow_scripts.auxiliaries.pretrained import Pretrained
from workflow_scripts.common import catalog, spellings
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.images import ImageFormat, Images
from workflow_scripts.common.run import Run
from workflow_scripts.models.encoder import import_library
from workflow_scripts.networks import weights
from workflow_scripts.networks.model import Extractor, Model, penultimate
from workflow_scripts.training.inference import accuracy
from workflow_scripts.training.loop import train as fit

OTHERS = [name for name in catalog.list_methods("auxiliaries") if "hub" in catalog.describe("auxiliaries", name).traits]
Saved = tuple[Pretrained, Callable[[torch.Tensor], torch.Tensor]]
"""The auxiliary of a folder, and what its library gives for uint8 images (B, 3, H, W)."""


@pytest.mark.parametrize("name", OTHERS)
def test_pretrained_encoders_see_no_image_and_say_where_they_come_from(
    name: str, digits: tuple[Images, Images]
) -> None:
    described = catalog.describe("auxiliaries", name)
    assert set(described.asks) == {"model", "run"} and described.fields["backbone"].default == "encoder"
    with pytest.raises(UserError, match="put the files of .*hub there: .*safetensors"):
        replace(catalog.make("auxiliaries", name, {}), folder="nowhere")(
            untrained_encoder(digits[0].format), Run("digits", 0)
        )


def untrained_encoder(form: ImageFormat) -> Model:
    return weights.build("encoder", spellings.resolve("models", "encoder"), form, Run("digits", 0))


def saved_timm(folder: Path) -> Saved:
    timm = import_library("timm")
    network = timm.create_model("test_resnet", num_classes=7).eval()
    timm.models.save_for_hf(network, folder, safe_serialization=True)
    images = prepared((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 160, cubic=False)
    return Pretrained(folder=str(folder)), lambda x: network.forward_head(
        network.forward_features(images(x)), pre_logits=True
    )


def saved_open_clip(folder: Path) -> Saved:
    open_clip = import_library("open_clip")
    vision = {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16}
    text = {"context_length": 4, "vocab_size": 8, "width": 16, "heads": 2, "layers": 1}
    model = {"embed_dim": 12, "vision_cfg": vision, "text_cfg": text, "quick_gelu": True}
    mean, std = [0.48, 0.46, 0.41], [0.27, 0.26, 0.28]
    network = open_clip.CLIP(**model).eval()
    folder.mkdir()
    stored = {"model_cfg": model, "preprocess_cfg": {"mean": mean, "std": std, "interpolation": "bicubic"}}
    (folder / "open_clip_config.json").write_text(json.dumps(stored))
    save_file(network.state_dict(), folder / "open_clip_model.safetensors")
    images = prepared(mean, std, 32)
    return Pretrained(library="open_clip", folder=str(folder)), lambda x: network.encode_image(images(x))


def saved_align(folder: Path) -> Saved:
    """With a preprocessor as `kakaobrain/align-base` has it: bytes to -1 … 1."""
    transformers = import_library("transformers")
    block: dict[str, Any] = {"kernel_sizes": [3], "in_channels": [32], "out_channels": [16], "strides": [1]}
    vision = {**block, "num_block_repeats": [1], "expand_ratios": [1], "width_coefficient": 0.25, "image_size": 40}
    config = transformers.AlignConfig(text_config={**TINY, "vocab_size": 20}, vision_config=vision, projection_dim=8)
    processor = transformers.EfficientNetImageProcessor(
        size={"height": 44, "width": 44},
        crop_size={"height": 40, "width": 40},
        do_center_crop=True,
        rescale_factor=1 / 127.5,
        rescale_offset=True,
        do_normalize=False,
        include_top=False,
        resample=2,
    )
    return saved_transformers(folder, transformers.AlignModel(config), processor, ((0.5,) * 3, (0.5,) * 3, 40, False))


def saved_blip2(folder: Path) -> Saved:
    transformers = import_library("transformers")
    language = {"model_type": "opt", "vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 1, "ffn_dim": 16}
    config = transformers.Blip2Config(
        vision_config={**TINY, "image_size": 28, "patch_size": 14},
        qformer_config={**TINY, "vocab_size": 20, "encoder_hidden_size": 16},
        text_config={**language, "num_attention_heads": 2, "word_embed_proj_dim": 16},
    )
    mean, std = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
    processor = transformers.BlipImageProcessor(image_mean=mean, image_std=std, size={"height": 28, "width": 28})
    network = transformers.Blip2ForConditionalGeneration(config)
    return saved_transformers(folder, network, processor, (mean, std, 28))


def saved_transformers(folder: Path, network: Any, processor: Any, preparation: tuple[Any, ...]) -> Saved:
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # its own are so small that all images look alike
    network.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    images = prepared(*preparation)
    vision = network.vision_model
    return Pretrained(library="transformers", folder=str(folder)), lambda x: vision(images(x)).pooler_output


def prepared(mean: Any, std: Any, size: int, cubic: bool = True) -> Callable[[torch.Tensor], torch.Tensor]:
    """uint8 images as a network wants them, by torchvision."""
    from torchvision.transforms import InterpolationMode, v2

    mode = InterpolationMode.BICUBIC if cubic else InterpolationMode.BILINEAR
    resize, normalize = v2.Resize((size, size), mode, antialias=True), v2.Normalize(mean, std)
    return lambda images: normalize(resize(images.float() / 255).clamp(0, 1))


TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
SAVED = {"timm": saved_timm, "open_clip": saved_open_clip, "align": saved_align, "blip2": saved_blip2}


@pytest.mark.parametrize("kind", SAVED)
def test_an_encoder_gives_what_its_library_gives(kind: str, digits: tuple[Images, Images], tmp_path: Path) -> None:
    """Read, saved as an artifact, and built again without the library's folder."""
    torch.manual_seed(0)
    auxiliary, reference = SAVED[kind](tmp_path / "folder")
    made = [auxiliary(untrained_encoder(digits[0].format), Run("digits", 0)) for _ in range(2)]
    states = [model.network.state_dict() for model in made]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    shutil.rmtree(tmp_path / "folder")
    weights.save(tmp_path / "model.safetensors", made[0], {})
    extractor = Extractor(weights.load_frozen(tmp_path / "model.safetensors", torch.device("cpu")))
    images = torch.from_numpy(digits[1].images[:4]).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = reference(images)
    assert expected.shape == (4, extractor.width) and expected.std(0).max() > 1e-4
    torch.testing.assert_close(extractor(images), expected, rtol=1e-4, atol=1e-5)
    inputs = (images.float() / 255).requires_grad_()
    extractor(inputs).square().sum().backward()
    assert inputs.grad is not None and inputs.grad.abs().max() > 0


def test_a_probe_learns_on_an_encoder(digits: tuple[Images, Images], tmp_path: Path) -> None:
    torch.manual_seed(0)
    auxiliary, _ = saved_open_clip(tmp_path / "folder")
    model = auxiliary(untrained_encoder(digits[0].format), Run("digits", 0))
    changed = {"hidden": (64,), "epochs": 60, "weight_decay": 0.0, "batch_size": 32}
    params = {**spellings.resolve("models", "probe"), **changed}
    probe = weights.build("probe", params, digits[0].format, Run("digits", 0), Extractor(model))
    fit(probe, digits[0], probe.recipe, Run("digits", 0))
    assert accuracy(probe, digits[1]) > 0.4
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_an_image_of_one_channel_is_encoded_as_gray(digits: tuple[Images, Images], tmp_path: Path) -> None:
    torch.manual_seed(0)
    auxiliary, _ = saved_open_clip(tmp_path / "folder")
    gray = ImageFormat((16, 16, 1), digits[0].format.classes, (0.5,), (0.25,))
    images = torch.from_numpy(digits[1].images[:4]).permute(0, 3, 1, 2)
    one, three = (auxiliary(untrained_encoder(form), Run("digits", 0)).eval() for form in (gray, digits[0].format))
    assert torch.equal(penultimate(one, images[:, :1]), penultimate(three, images))
    with pytest.raises(UserError, match="2 channels"):
        untrained_encoder(replace(gray, shape=(16, 16, 2)))


def test_every_mistake_with_a_folder_is_one_line(
    untrained: Callable[[], Model], digits: tuple[Images, Images], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, model, folder = Run("digits", 0), untrained_encoder(digits[0].format), tmp_path / "folder"
    auxiliary, _ = saved_open_clip(folder)
    with pytest.raises(UserError, match="backbone encoder, not preact_small"):
        auxiliary(untrained(), run)
    with pytest.raises(UserError, match="no features of images of 48 pixels"):
        replace(auxiliary, size=48)(model, run)
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(UserError, match=r"open_clip is not installed, .* pip install '\.\[extractors\]'"):
        auxiliary(model, run)
    monkeypatch.undo()
    file = folder / "open_clip_model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:500])
    with pytest.raises(UserError, match="open_clip cannot load it"):
        auxiliary(model, run)
    file.rename(folder / "open_clip_pytorch_model.bin")
    with pytest.raises(UserError, match="no open_clip_model.safetensors .pickles are not opened"):
        auxiliary(model, run)


def test_an_encoder_without_all_of_its_weights_is_refused(digits: tuple[Images, Images], tmp_path: Path) -> None:
    """transformers would draw the missing ones at random."""
    transformers = import_library("transformers")
    config = transformers.ViTConfig(**TINY, image_size=32, patch_size=16)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
    transformers.ViTImageProcessor().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="no weights for pooler.dense.bias"):
        Pretrained(library="transformers", folder=str(tmp_path))(untrained_encoder(digits[0].format), Run("digits", 0))
