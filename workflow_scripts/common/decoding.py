"""Encoded images as gray or RGB of 8 bits, each by a rule that is said here, or why not."""

import io
import warnings
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from workflow_scripts.common.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

Background = Literal["black", "white"]
"""What lies behind transparent pixels."""

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM")
"""What is opened at all; TIFF is how the Hugging Face hub has floating-point images, which shall be told apart."""
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
"""Pillow's modes of 8 bits a channel that are gray or RGB, opaque or not."""
REMEDY = "store 8-bit PNG, JPEG or WebP"


def decode(cell: Any, background: Background = "black") -> "Image":
    """The picture of encoded bytes, or of a {bytes, path} struct: gray (Pillow's mode L) or RGB, upright.

    Gray of 16 bits is scaled by its range, 65535 to 255, and rounded; of 16-bit colors Pillow keeps the high byte, the
    same to within one level. Transparent pixels are laid over the background. The EXIF orientation is applied. Of a
    camera's multi-picture JPEG the first picture is used, which is the photograph. UserError, to stand behind the name
    of the cell, of what is no image, or would lose more: several frames, floating point, 32 bits, inks.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    data = _find_bytes(cell)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            if image.format == "PNG":  # Pillow skips the last checksum where the file ends before it
                image.verify()
                image = Image.open(io.BytesIO(data), formats=FORMATS)
            highest = _find_highest(image)
            _check_kind(image, highest)
            image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return _scale(image, highest) if highest > 255 else _flatten(image, background)
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


def _find_highest(image: "ImageFile") -> int:
    """The highest value of a channel, which is white: that of a gray image of more than 8 bits, or 255."""
    if image.mode.startswith("I;16"):
        return 4095 if image.tile and "I;12" in str(image.tile[0][3]) else 65535
    return 65535 if image.mode == "I" and image.format in ("PPM", "PNG") else 255


def _check_kind(image: "ImageFile", highest: int) -> None:
    """UserError if the image has values or frames that no rule makes gray or RGB of 8 bits."""
    if highest == 255 and image.mode.startswith(("I", "F")):
        kind = "floating-point" if image.mode == "F" else "32-bit"
        raise UserError(
            f"is a {kind} image (Pillow's mode {image.mode}), of which nothing says what is white; {REMEDY}"
        )
    if highest == 255 and image.mode not in MODES:
        raise UserError(f"is an image of mode {image.mode}, which is not RGB without rounding; {REMEDY}, gray or RGB")
    if highest > 255 and image.has_transparency_data:
        raise UserError(f"is a 16-bit image of which one level is transparent; {REMEDY}")
    if (frames := getattr(image, "n_frames", 1)) > 1 and image.format != "MPO":
        raise UserError(f"has {frames} frames, of which one would be used; store that one alone")


def _scale(image: "Image", highest: int) -> "Image":
    from PIL import Image

    return Image.fromarray(np.rint(np.asarray(image) * (255 / highest)).astype(np.uint8))


def _flatten(image: "Image", background: Background) -> "Image":
    """Gray or RGB, what is transparent over the background; what is opaque keeps its values."""
    from PIL import Image

    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    if image.has_transparency_data:
        whole = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", whole.size, background), whole).convert("RGB")
    return image.convert(mode)
