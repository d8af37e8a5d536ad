"""Every kind of image comes out as what it shows: of its own range, over a background, upright, at one size."""

import io
import struct
import tracemalloc
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision.transforms as T
from PIL import Image

from workflow_scripts.attacks import _pictures
from workflow_scripts.attacks._user_files import find_missing
from workflow_scripts.attacks.blended import Blended
from workflow_scripts.common import catalog, spellings
from workflow_scripts.common.decoding import Background, decode
from workflow_scripts.common.errors import UserError
from workflow_scripts.common.run import Run
from workflow_scripts.datasets._pictures import Pictures

RNG = np.random.default_rng(0)
COLOR = RNG.integers(0, 256, (6, 4, 3), np.uint8)
GRAY = RNG.integers(0, 256, (6, 4), np.uint8)
DEEP = RNG.integers(0, 65536, (6, 4), np.uint16)
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def encode(image: Image.Image | np.ndarray, form: str = "PNG", **options: Any) -> bytes:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer := io.BytesIO(), form, **options)
    return buffer.getvalue()


def pixels(data: bytes, **options: Any) -> np.ndarray:
    return np.asarray(decode(data, **options))


def assemble_png(values: np.ndarray) -> bytes:
    """A PNG of 16-bit colors (H, W, 3), which Pillow does not write."""
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 2, 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    packed = (struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def assemble_tiff(values: Sequence[int], bits: int) -> bytes:
    """A TIFF of one line of gray values of so many bits, which Pillow does not write for 12."""
    packed = int("".join(f"{value:0{bits}b}" for value in values), 2).to_bytes(len(values) * bits // 8, "big")
    tags = {256: len(values), 257: 1, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: len(packed)}
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<I", 8 + len(packed)) + packed + struct.pack("<H", len(tags)) + directory + bytes(4)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_16_bits_are_scaled_by_their_range(form: str) -> None:
    values = np.array([[0, 128, 129, 255, 257, 32768, 65279, 65535]], np.uint16)
    assert pixels(encode(values, form)).tolist() == [[0, 0, 1, 1, 1, 128, 254, 255]]
    assert np.array_equal(pixels(encode(DEEP, form)), np.rint(DEEP / 257))
    assert np.array_equal(pixels(encode(GRAY * np.uint16(257), form)), GRAY), "8 bits in 16 are what they were"


def test_a_portable_map_is_scaled_by_the_range_that_it_says() -> None:
    for highest in (100, 1023):
        wide = "B" if highest < 256 else "H"
        data = f"P5\n3 1\n{highest}\n".encode() + struct.pack(f">3{wide}", 0, highest // 2, highest)
        assert pixels(data).tolist()[0][::2] == [0, 255] and abs(int(pixels(data)[0, 1]) - 127) <= 1


def test_16_bit_colors_keep_their_high_byte() -> None:
    values = RNG.integers(0, 65536, (6, 4, 3), np.uint16)
    found = pixels(assemble_png(values))
    assert np.array_equal(found, values >> 8) and np.abs(found - values / 257).max() < 1
    assert np.array_equal(pixels(assemble_png(COLOR * np.uint16(257))), COLOR)


def test_12_bits_are_scaled_by_theirs() -> None:
    assert pixels(assemble_tiff([0, 8, 2048, 4095], 12)).tolist() == [[0, 0, 128, 255]]


def test_gray_of_any_depth_is_one_plane() -> None:
    for mode in ("1", "L"):
        image = Image.fromarray(GRAY).convert(mode)
        assert decode(encode(image)).mode == "L"
        assert np.array_equal(pixels(encode(image)), np.asarray(image.convert("L")))
    assert decode(encode(DEEP)).mode == "L"


@pytest.mark.parametrize("mode", ["LA", "P", "PA", "RGBA", "RGB"])
def test_what_is_opaque_keeps_its_values(mode: str) -> None:
    plain = Image.fromarray(COLOR).convert("L" if mode == "LA" else "RGB")
    image = plain.convert("P").convert(mode) if mode == "PA" else plain.convert(mode)
    data = encode(image, "TIFF" if mode == "PA" else "PNG")
    for background in ("black", "white"):
        assert np.array_equal(pixels(data, background=background), np.asarray(image.convert(plain.mode)))


@pytest.mark.parametrize(("background", "behind"), [("black", BLACK), ("white", WHITE)])
def test_what_is_transparent_shows_the_background(background: Background, behind: tuple[int, int, int]) -> None:
    alpha = np.array([0, 51, 204, 255], np.uint8)
    image = np.concatenate([COLOR, np.broadcast_to(alpha[:, None], (6, 4, 1))], axis=2)
    wanted = COLOR * (alpha[:, None] / 255) + np.array(behind) * (1 - alpha[:, None] / 255)
    assert np.abs(pixels(encode(image), background=background) - wanted).max() <= 1
    gray = Image.merge("LA", [Image.fromarray(GRAY), Image.fromarray(np.broadcast_to(alpha, (6, 4)).copy())])
    found = decode(encode(gray), background)
    assert found.mode == "L" and (np.asarray(found)[:, 0] == behind[0]).all()
    assert np.array_equal(np.asarray(found)[:, 3], GRAY[:, 3])


def test_a_color_or_an_entry_of_the_palette_may_be_the_transparent_one() -> None:
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (9, 9, 9))
    palette = image.convert("P", palette=Image.Palette.ADAPTIVE)
    clear = palette.getpixel((0, 0))
    for data in (
        encode(image, transparency=(1, 2, 3)),
        encode(palette, transparency=clear),
        encode(palette, "GIF", transparency=clear),
    ):
        assert np.array_equal(pixels(data, background="white"), [[WHITE, (9, 9, 9)]])


def stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels of a file that shows `upright` when it is turned by this EXIF orientation."""
    swapped = np.swapaxes(upright, 0, 1)
    ways = [upright, upright[:, ::-1], upright[::-1, ::-1], upright[::-1]]
    ways += [swapped, swapped[::-1], swapped[::-1, ::-1], swapped[:, ::-1]]
    return np.ascontiguousarray(ways[orientation - 1])


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_upright_once(orientation: int, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if form == "WEBP" else {}
    for image in (COLOR,) if form == "WEBP" else (COLOR, GRAY, DEEP):
        found = pixels(encode(stored(image, orientation), form, exif=exif, **options))
        assert np.array_equal(found, np.rint(image / 257) if image is DEEP else image)


def test_of_a_camera_s_pictures_the_photograph_is_used() -> None:
    photograph = Image.fromarray(COLOR).resize((40, 60))
    data = encode(photograph, "MPO", save_all=True, append_images=[Image.new("RGB", (40, 60))])
    assert np.array_equal(pixels(data), pixels(encode(photograph, "JPEG")))


def gathered(*images: bytes, **fields: Any) -> np.ndarray:
    cells = [(f"image {number}", data) for number, data in enumerate(images)]
    return Pictures(**fields).gather(cells, range(len(cells)))


@pytest.mark.parametrize("size", [8, 32, 224])
def test_size_is_torchvision_s_resize_and_crop(size: int) -> None:
    for width, height in ((40, 40), (61, 40), (40, 61), (300, 47), (7, 5)):
        image = Image.fromarray(RNG.integers(0, 256, (height, width, 3), np.uint8))
        wanted = T.CenterCrop(size)(T.Resize(size)(image))
        assert np.array_equal(gathered(encode(image), size=size)[0], wanted)
        whole = T.Resize((size, size))(image)
        assert np.array_equal(gathered(encode(image), size=size, fit="whole")[0], whole)


def test_an_image_of_the_size_is_as_it_was_and_gray_is_resized_like_color() -> None:
    square = COLOR[:4]
    assert np.array_equal(gathered(encode(square), size=4)[0], square)
    small = gathered(encode(GRAY), encode(np.stack([GRAY] * 3, axis=2)), size=3)
    assert np.array_equal(small[0], small[1]) and small.shape == (2, 3, 3, 3)


def test_mixed_sizes_name_the_image_and_the_field() -> None:
    with pytest.raises(UserError, match="image 2 is of 4x6 pixels, those before it of 6x4: .* need a `size`"):
        gathered(encode(GRAY.T.copy()), encode(GRAY.T.copy()), encode(GRAY))
    assert gathered(encode(GRAY.T.copy()), encode(GRAY), size=5).shape == (2, 5, 5, 3)


def test_a_gray_set_may_stay_one_channel() -> None:
    alike = np.stack([GRAY] * 3, axis=2)
    three = gathered(encode(GRAY), encode(alike))
    assert np.array_equal(three, [alike, alike])
    for channels in ("gray", "auto"):
        assert np.array_equal(gathered(encode(GRAY), encode(alike), channels=channels), [GRAY[..., None]] * 2)
    for images in ((GRAY, COLOR), (COLOR, GRAY)):
        wanted = [alike if image is GRAY else COLOR for image in images]
        assert np.array_equal(gathered(*map(encode, images), channels="auto"), wanted)
    luma = np.asarray(Image.fromarray(COLOR).convert("L"))
    assert np.array_equal(gathered(encode(COLOR), channels="gray")[0, ..., 0], luma)


@pytest.mark.parametrize("last", [GRAY, COLOR], ids=["gray", "color"])
def test_gathering_holds_the_pixels_twice_at_most(last: np.ndarray) -> None:
    data = encode(np.kron(GRAY, np.ones((8, 8), np.uint8)))
    color = encode(np.kron(last, np.ones((8, 8) + (1,) * (last.ndim - 2), np.uint8)))
    cells = [("image", data)] * 1999 + [("image", color)]
    gathered(data)  # imports Pillow
    tracemalloc.start()
    images = Pictures(channels="auto", size=32).gather(cells, range(2000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert images.shape == (2000, 32, 32, 1 if last is GRAY else 3)
    assert peak < 1.5 * images.nbytes


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of pictures: a photograph, one name twice, and what is none."""
    monkeypatch.setattr(_pictures, "PICTURES", tmp_path)
    for name in ("kitty.png", "twice.png", "twice.jpg", ".hidden.png"):
        (tmp_path / name).write_bytes(encode(COLOR, "JPEG" if name.endswith("jpg") else "PNG"))
    (tmp_path / "broken.png").write_bytes(b"none")
    return tmp_path


@pytest.mark.parametrize("shape", [(16, 16, 3), (8, 12, 1)])
def test_blended_takes_a_picture_by_its_name(pictures: Path, shape: tuple[int, int, int]) -> None:
    images = RNG.integers(0, 256, (2, *shape), np.uint8)
    mixed = Blended(picture="kitty", alpha=0.3).make_trigger(shape, Run("digits", 0))(images)
    picture = Image.fromarray(COLOR).convert("RGB" if shape[2] == 3 else "L")
    scaled = np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.BILINEAR)).reshape(shape)
    assert np.abs(mixed - (0.7 * images + 0.3 * scaled)).max() <= 0.51
    own = Blended(alpha=0.3).make_trigger(shape, Run("digits", 0))(images)
    assert not np.array_equal(own, mixed)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cat", "picture is 'cat', of which there is no image in .*; there are: broken, drawn, kitty, twice$"),
        ("../kitty", "of which there is no image"),
        ("twice", "picture is 'twice', of which there are several images in"),
        ("broken", "broken.png is no image"),
    ],
)
def test_a_picture_that_is_not_there_is_said(pictures: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Blended(picture=name).make_trigger((8, 8, 3), Run("digits", 0))


def test_a_picture_is_asked_for_before_a_run(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        traits = catalog.describe("attacks", "blended").traits
        return find_missing(traits, spellings.resolve("attacks", f"blended+picture~{name}"))

    assert missing("drawn") == missing("kitty") == find_missing({}, {}) == ""
    assert "of which there is no image" in missing("cat") and "broken.png is no image" in missing("broken")
    monkeypatch.setattr(_pictures, "PICTURES", pictures / "nowhere")
    assert missing("drawn") == "" and missing("kitty").endswith("there are: drawn")


def test_the_fields_that_name_a_picture_are_fields() -> None:
    for name in catalog.list_methods("attacks"):
        described = catalog.describe("attacks", name)
        assert set(described.traits.get("pictures", ())) <= described.fields.keys(), name
