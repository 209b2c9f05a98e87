"""Image files: opening one reads its size; its pixels are decoded on request.

libjpeg-turbo decodes JPEG straight into an array. PIL decodes everything else: the other `FORMATS`, detected
by content and not by file name; CMYK; and files that libjpeg-turbo rejects although no pixels are lost. As in
torchvision's ImageFolder, EXIF orientation is not applied.
"""

import io
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from bn.errors import UserError
from bn.files import open_regular

FORMATS = ("BMP", "JPEG", "PNG", "PPM", "WEBP")  # no others: for EPS, PIL starts Ghostscript
LIMIT = 1 << 26  # pixels (200 MB in memory); a larger image is refused before it is decoded

T = TypeVar("T")


class BrokenImage(UserError):
    """An image that cannot be read."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: cannot be read ({reason}): restore it, or remove it")


class DecodedImage:
    """An image that is already an array (H, W, 3). `size` is (H, W), as in `EncodedImage`."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.size = (array.shape[0], array.shape[1])

    def pixels(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB. BrokenImage if the image cannot be decoded."""
        return self._array


class EncodedImage:
    """The content of an image file, not yet decoded. BrokenImage if it is not an image, or too large."""

    def __init__(self, content: bytes, name: str) -> None:
        self._content = content
        self._name = name
        try:
            height, width, colorspace, _ = simplejpeg.decode_jpeg_header(content)
        except ValueError:
            height, width, colorspace = 0, 0, ""
        self._is_jpeg = colorspace not in ("", "CMYK", "YCCK")
        if not self._is_jpeg:
            width, height = self._from_pil(lambda image: image.size)
        self.size = int(height), int(width)
        if self.size[0] * self.size[1] > LIMIT:
            raise BrokenImage(name, f"{width}x{height} pixels; accepted: at most {LIMIT} in all")

    def pixels(self) -> np.ndarray:
        if not self._is_jpeg:
            return self._from_pil(_rgb)
        try:
            return simplejpeg.decode_jpeg(self._content)
        except ValueError as error:
            if "nsufficient memory" in str(error):  # not the file's fault
                raise MemoryError(str(error)) from error
            if "Premature end" in str(error):  # PIL may fill the missing part with gray
                raise BrokenImage(self._name, "a truncated JPEG file") from error
            return self._from_pil(_rgb)

    def _from_pil(self, take: Callable[[Image.Image], T]) -> T:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about damaged EXIF or many pixels; the image is readable
                with Image.open(io.BytesIO(self._content), formats=FORMATS) as image:
                    return take(image)
        except UnidentifiedImageError as error:
            raise BrokenImage(self._name, f"not an image; accepted: {', '.join(FORMATS)}") from error
        except MemoryError:  # not the file's fault, since its size was checked
            raise
        except Exception as error:  # PIL's plugins raise exceptions of any kind
            raise BrokenImage(self._name, str(error) or type(error).__name__) from error


def open_image(path: str) -> EncodedImage:
    """Read an image file without decoding it. BrokenImage if it is unreadable, not an image, or too large."""
    try:
        with open_regular(Path(path)) as file:
            size = os.fstat(file.fileno()).st_size
            if size > 8 * LIMIT:  # four uncompressed channels of 16 bits
                raise BrokenImage(path, f"{size} bytes; accepted: at most {8 * LIMIT}")
            content = file.read()
    except OSError as error:
        raise BrokenImage(path, error.strerror or type(error).__name__) from error
    return EncodedImage(content, path)


def _rgb(image: Image.Image) -> np.ndarray:
    """Convert to (H, W, 3) uint8: scale 16 bits to 8, and drop transparency as torchvision does.

    ValueError for floating point, whose range is unknown. PIL's own conversion would clip both.
    """
    if image.mode == "F":
        raise ValueError("gray in floating point, of unknown range; accepted: 8 or 16 bits")
    if image.mode.startswith("I"):  # 16-bit gray
        gray = np.asarray(image).astype(np.float32) * (255 / 65535)
        return np.repeat(np.rint(gray).astype(np.uint8)[..., None], 3, axis=2)
    return np.array(image.convert("RGB"))  # a writable copy, as torch requires
