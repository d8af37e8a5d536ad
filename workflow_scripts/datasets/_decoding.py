"""Encoded images as pixels: exactly what was stored, or why not."""

import io
import re
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from workflow_scripts.common.errors import UserError

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP")
"""What is opened at all; TIFF is how the Hugging Face hub has floating-point images, which shall be told apart."""
EXACT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
"""Pillow's modes that are 8-bit RGB without rounding, if they are opaque."""
DEEP = re.compile(r";16[BLN]")
"""In Pillow's raw modes: 16 bits in each channel, of which it keeps 8 without a word."""
ORIENTATION = 0x0112
REMEDY = "store 8-bit PNG, JPEG or WebP"


def decode(cell: Any) -> np.ndarray:
    """The pixels of encoded bytes, or of a {bytes, path} struct: uint8 (H, W, 3). UserError, to stand behind the name
    of the cell, where there are none or RGB does not have all of them."""
    from PIL import Image, UnidentifiedImageError

    data = _find_bytes(cell)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            _check_depth(image)
            image.load()
        return _to_rgb(image)
    except UserError:
        raise
    except UnidentifiedImageError:  # its text is the address of the buffer
        raise UserError(f"is no image ({len(data)} bytes of no known kind, or of no size); {REMEDY}") from None
    except Exception as error:  # what is not whole makes Pillow raise a dozen kinds, SyntaxError among them
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        raise UserError(f"is no image ({reason}); {REMEDY}") from None


def _find_bytes(cell: Any) -> bytes:
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if isinstance(data, bytes):
        return data
    if isinstance(cell, dict) and data is None:
        raise UserError(f"is no image (a struct without bytes, its path is {cell.get('path')!r:.60}); {REMEDY} in it")
    raise UserError(f"is no image ({'null' if data is None else f'of type {type(data).__name__}'}); {REMEDY}")


def _check_depth(image: "ImageFile") -> None:
    """UserError if the image has values that 8 bits cannot hold, or that are no colors of RGB."""
    if image.mode.startswith(("I", "F")) or any(DEEP.search(str(tile[3])) for tile in image.tile):
        bits = "floating-point" if image.mode == "F" else "32-bit" if image.mode == "I" else "16-bit"
        raise UserError(f"is a {bits} image (Pillow's mode {image.mode}), which 8 bits cannot hold; {REMEDY}")
    if image.mode not in EXACT:
        raise UserError(f"is an image of mode {image.mode}, which is not RGB without rounding; {REMEDY}, gray or RGB")
    if (frames := getattr(image, "n_frames", 1)) > 1:
        raise UserError(f"has {frames} frames, of which one would be used; store that one alone")


def _to_rgb(image: "ImageFile") -> np.ndarray:
    """uint8 (H, W, 3) of a loaded image. UserError if transparency or a rotation would be lost."""
    if image.getexif().get(ORIENTATION, 1) in range(2, 9):
        raise UserError("has an EXIF orientation, which would be ignored; store it upright and without one")
    if not image.has_transparency_data:
        return np.asarray(image.convert("RGB"))
    pixels = np.asarray(image.convert("RGBA"))
    if (pixels[..., 3] < 255).any():
        raise UserError(
            f"is not opaque, and RGB has no transparency; {REMEDY} without alpha, on the background you want"
        )
    return pixels[..., :3]
