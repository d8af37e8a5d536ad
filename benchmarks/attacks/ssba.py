"""Runs BackdoorBench's training of SSBA's encoder, its script as it stands, beside the auxiliary `stego_encoder`.

    python -m benchmarks.attacks.ssba CHECKOUT PARQUET FOLDER [ISSBA]

CHECKOUT is one of github.com/SCLBD/BackdoorBench, PARQUET a file of CIFAR-10's images; FOLDER is for what the script
reads and writes. ISSBA: a checkout of github.com/yuezunli/ISSBA, the authors', which has six encoded images; its
encoder and StegaStamp's training need TensorFlow 1.
"""

import contextlib
import io
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from benchmarks.compare_tsbd import drawn, executed
from workflow_scripts.attacks.ssba import make_writer
from workflow_scripts.auxiliaries.stego_encoder import Lesson, StegoEncoder
from workflow_scripts.common import spellings
from workflow_scripts.common.images import Images
from workflow_scripts.common.run import Run
from workflow_scripts.common.visibility import trigger_visibility
from workflow_scripts.jobs.step import step
from workflow_scripts.models.stego import Steganography
from workflow_scripts.networks import weights
from workflow_scripts.networks.model import Model
from workflow_scripts.training.loader import Batch

RUN = Run("cifar10_jpeg", 0)
IMAGES, EPOCHS, BATCH = 960, 10, 16
"""The script saves what it has trained after every tenth epoch."""
BUDGET = StegoEncoder(steps=IMAGES // BATCH * EPOCHS, lr=1e-3, batch_size=BATCH, wait=50, ramp=250)
BITS = 32
NAMES = (
    *(("encoder.message", "secret_dense"), ("encoder.start", "conv1")),
    *((f"encoder.down.{i}", f"conv{i + 2}") for i in range(4)),
    *((f"encoder.up.{i}", f"up{i + 6}") for i in range(4)),
    *((f"encoder.merge.{i}", f"conv{i + 6}") for i in range(4)),
    *(("encoder.paint.0", "conv10"), ("encoder.paint.2", "residual")),
    *((f"decoder.{i}", f"decoder.{i}") for i in range(0, 14, 2)),
    *(("decoder.15", "dense.0"), ("decoder.17", "dense.2")),
)
"""Layers here and there, the encoder's before the decoder's."""


def main(checkout: str, parquet: str, folder: str, issba: str = "") -> None:
    """Print the comparison as Markdown."""
    train, _, test = drawn(Path(parquet))
    train, source = train[:IMAGES], Path(checkout) / "resource" / "ssba"
    print_one_step(executed(source / "models.py"), train)
    print(
        f"\n{IMAGES} images of CIFAR-10, {BUDGET.steps} steps, batches of {BATCH}, {BITS} bits, learning rate", end=" "
    )
    print(f"{BUDGET.lr:g}, wait {BUDGET.wait}, ramp {BUDGET.ramp}; judged on {len(test)} test images, rounded.\n")
    print("| | readable at step | bits read | PSNR | RMS | SSIM | CPU seconds |\n|---|---|---|---|---|---|---|")
    for start, as_torch in (("weights as torch draws them", True), ("He's weights, the same for both", False)):
        print_row(f"official, {start}", *official(source, Path(folder), train, as_torch), test)
        print_row(f"here, {start}", *own(train, as_torch), test)
    if issba:
        print_pairs(Path(issba) / "data" / "imagenet")


def untrained(data: Images, **fields: Any) -> Model:
    """The network of the comparison before training."""
    params = spellings.resolve("models", "stego", {"models": {"stego": {"bits": BITS, **fields}}})
    return weights.build("stego", params, data.format, RUN)


def network_of(model: Model) -> Steganography:
    """That of a model of `stego`."""
    assert isinstance(model.network, Steganography)
    return model.network


def print_one_step(theirs: Any, train: Images) -> None:
    """The encoded images, the losses and the gradients of one batch from equal weights, by both codes."""
    print("One batch from equal weights. Pixels are 0–255; a gradient's gap is relative to its layer's largest.\n")
    print("| output | weight | largest gap of a pixel | loss here | official | largest gap of a gradient |")
    print("|---|---|---|---|---|---|")
    for output, weight in (("image", 0.0), ("image", 10.0), ("residual", 10.0)):
        network = network_of(untrained(train, output=output))
        if output == "residual":  # so small that nothing is cut, which they do only where images are saved
            network.get_parameter("encoder.paint.2.weight").data *= 1e-4
        with contextlib.redirect_stdout(io.StringIO()):
            encoder = theirs.StegaStampEncoder(32, 3, BITS, return_residual=int(output == "residual"))
        decoder = theirs.StegaStampDecoder(32, 3, BITS)
        fill(network, encoder, decoder)
        images = torch.from_numpy(train.images[:BATCH] // 2 + 64).permute(0, 3, 1, 2)
        bits = torch.randint(2, (BATCH, BITS), generator=RUN.torch_rng("stego/messages")).float()
        lesson = Lesson(network, BUDGET, RUN)
        lesson.step, lesson.read_at = 10_000, 0 if weight else None
        _, loss = lesson(Batch(images, torch.zeros(BATCH).long(), torch.arange(BATCH)))
        clean = images / 255
        encoded = encoder(bits, clean) + (clean if output == "residual" else 0)
        other = F.binary_cross_entropy_with_logits(decoder(encoded), bits) + weight * F.mse_loss(encoded, clean)
        other.backward()
        pixels = 255 * (network.encode(clean, bits) - encoded).abs().max().detach()
        gap = max(
            float((here - there).abs().max() / there.abs().max())
            for here, there in gradients(network, encoder, decoder)
        )
        print(f"| {output} | {weight:g} | {pixels:.2g} | {loss.detach():.6f} | {other.detach():.6f} | {gap:.1g} |")


def pairs(network: nn.Module, encoder: nn.Module, decoder: nn.Module) -> Iterator[tuple[nn.Module, nn.Module]]:
    """The layers here, each with that there."""
    for here, there in NAMES:
        part = encoder if here.startswith("encoder") else decoder
        yield network.get_submodule(here), part.get_submodule(there)


def fill(network: nn.Module, encoder: nn.Module, decoder: nn.Module) -> None:
    """Give their networks our weights."""
    for here, there in pairs(network, encoder, decoder):
        there.load_state_dict(here.state_dict())


def gradients(
    network: nn.Module, encoder: nn.Module, decoder: nn.Module
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Of every parameter, here and there."""
    for here, there in pairs(network, encoder, decoder):
        for one, other in zip(here.parameters(), there.parameters(), strict=True):
            assert one.grad is not None and other.grad is not None
            yield one.grad, other.grad


def official(source: Path, folder: Path, train: Images, as_torch: bool) -> tuple[Model, str, float]:
    """What the script trains from its own weights or from ours, the step at which it says that messages are readable,
    and CPU seconds."""
    for name in ("images", "output"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(train.images):
        Image.fromarray(image).save(folder / "images" / f"{number}.png")
    options = {"data_dir": folder / "images", "output_dir": folder / "output", "EXP_NAME": "ssba"}
    options |= {"fingerprint_length": BITS, "image_resolution": 32, "num_epochs": EPOCHS, "batch_size": BATCH}
    options |= {"lr": BUDGET.lr, "l2_loss_await": BUDGET.wait, "l2_loss_ramp": BUDGET.ramp}
    arguments = [str(part) for key, value in options.items() for part in (f"--{key}", value)]
    models = executed(source / "models.py")
    encoder, decoder = models.StegaStampEncoder(32, 3, BITS), models.StegaStampDecoder(32, 3, BITS)
    if not as_torch:
        fill(untrained(train).network, encoder, decoder)
        vars(models).update(StegaStampEncoder=lambda *_, **__: encoder, StegaStampDecoder=lambda *_: decoder)
    absent = dict.fromkeys(("tensorboardX", "models_modulated", "generate_fingerprints"), MagicMock())
    sys.modules.update({**absent, "models": models})
    text = (source / "train.py").read_text().replace('"cuda"', '"cpu"')
    said, started = io.StringIO(), time.process_time()
    with (
        patch.object(sys, "argv", ["train.py", *arguments]),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
        torch.random.fork_rng(),
    ):
        exec(compile(text, "train.py", "exec"), {"__name__": "__main__"})
    seconds = time.process_time() - started
    found = re.search(r"global step: (\d+)", said.getvalue())
    model, saved = untrained(train), folder / "output" / "checkpoints"
    for part, network in (("encoder", encoder), ("decoder", decoder)):
        network.load_state_dict(torch.load(saved / f"ssba_{part}.pth", weights_only=True))
    for here, there in pairs(model.network, encoder, decoder):
        here.load_state_dict(there.state_dict())
    return model, found[1] if found else "–", seconds


def own(train: Images, as_torch: bool) -> tuple[Model, str, float]:
    """The same of the auxiliary, from its own weights or from those that torch draws."""
    model, run = untrained(train), Run("cifar10_jpeg", 0)
    with run.seeded("torch"):
        for module in model.network.modules() if as_torch else ():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.reset_parameters()
    started = time.process_time()
    BUDGET(train, model, run)
    return model, str(run.notes["readable_step"] or "–"), time.process_time() - started


@torch.no_grad()
def print_row(name: str, model: Model, readable: str, seconds: float, test: Images) -> None:
    """One trained encoder, by a message of its own."""
    network = network_of(model)
    message = torch.from_numpy(RUN.numpy_rng("message").integers(0, 2, BITS)).float()
    written = make_writer(network, message)(test.images)
    read = ((model(torch.from_numpy(written).permute(0, 3, 1, 2)) > 0) == (message > 0)).float().mean()
    print(
        f"| {name} | {readable} | {100 * read:.2f} % | {visibility(test.images, written)} | {seconds:.0f} |", flush=True
    )


def visibility(clean: np.ndarray, changed: np.ndarray) -> str:
    """PSNR, RMS and SSIM, as three cells."""
    found = trigger_visibility(clean, changed)
    return f"{found['trigger_psnr']:.1f} dB | {found['trigger_rms']:.1f} | {found['trigger_ssim']:.3f}"


def print_pairs(folder: Path) -> None:
    """The images that the authors have encoded with theirs."""
    print(
        "\nThe authors' own encoded images, 224x224 pixels of ImageNet:\n\n| image | PSNR | RMS | SSIM |\n"
        "|---|---|---|---|"
    )
    for path in sorted((folder / "org").iterdir()):
        clean, changed = (
            np.asarray(Image.open(file).convert("RGB"))[None]
            for file in (path, folder / "bd" / f"{path.stem}_hidden.png")
        )
        print(f"| {path.stem} | {visibility(clean, changed)} |")


if __name__ == "__main__":
    with step(threads=1):
        main(*sys.argv[1:])
