"""Image files: opened first, and decoded once it is known which part is needed.

libjpeg-turbo decodes JPEG straight into an array. PIL decodes everything else: the other formats of
`FORMATS`, whatever the file's name says; CMYK; and files that libjpeg-turbo rejects although no pixels are
lost. Orientations that EXIF states are not applied, as torchvision's ImageFolder does not.
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

FORMATS = ("BMP", "JPEG", "PNG", "PPM", "WEBP")  # PIL knows others, one of which starts Ghostscript
LIMIT = 1 << 26  # pixels, which are 200 MB in memory; an image of more is refused before it is decoded

T = TypeVar("T")


class BrokenImage(UserError):
    """An image that cannot be read."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: cannot be read ({reason}): restore it, or remove it")


class Decoded:
    """An image that is an array (h, w, 3) already. `size` is height and width, as of `Encoded`."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.size = (array.shape[0], array.shape[1])

    def pixels(self) -> np.ndarray:
        """(h, w, 3) uint8 RGB. BrokenImage if it cannot be read."""
        return self._array


class Encoded:
    """The content of a file, whose size is known and whose pixels are not decoded yet.

    BrokenImage if it is no image, or too large.
    """

    def __init__(self, content: bytes, name: str) -> None:
        self._content = content
        self._name = name
        try:
            height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        except ValueError:
            height, width, colours = 0, 0, ""
        self._is_jpeg = colours not in ("", "CMYK", "YCCK")
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
            if "nsufficient memory" in str(error):  # and not the file's fault
                raise MemoryError(str(error)) from error
            if "Premature end" in str(error):  # PIL takes it for gray, if as many bytes are there
                raise BrokenImage(self._name, "a truncated JPEG file") from error
            return self._from_pil(_rgb)

    def _from_pil(self, take: Callable[[Image.Image], T]) -> T:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of damaged EXIF, of many pixels: the image is there
                with Image.open(io.BytesIO(self._content), formats=FORMATS) as image:
                    return take(image)
        except UnidentifiedImageError as error:
            raise BrokenImage(self._name, f"not an image; accepted: {', '.join(FORMATS)}") from error
        except MemoryError:  # is not the file's fault: its pixels have been counted
            raise
        except Exception as error:  # PIL's plugins let through whatever they stumble over
            raise BrokenImage(self._name, str(error) or type(error).__name__) from error


Picture = Decoded | Encoded


def open_picture(path: str) -> Encoded:
    """BrokenImage if the file cannot be read, is no image, or is larger than any."""
    try:
        with open_regular(Path(path)) as file:
            size = os.fstat(file.fileno()).st_size
            if size > 8 * LIMIT:  # 16 bits for each of four channels, not compressed
                raise BrokenImage(path, f"{size} bytes; accepted: at most {8 * LIMIT}")
            content = file.read()
    except OSError as error:
        raise BrokenImage(path, error.strerror or type(error).__name__) from error
    return Encoded(content, path)


def _rgb(image: Image.Image) -> np.ndarray:
    """(h, w, 3) uint8: 16 bits are scaled to 8, and transparency is left out, as torchvision does.

    ValueError for floating point, which has no range to scale by. PIL's own conversion would clip either.
    """
    if image.mode == "F":
        raise ValueError("gray in floating point, of unknown range; accepted: 8 or 16 bits")
    if image.mode.startswith("I"):  # gray of 16 bits
        gray = np.asarray(image).astype(np.float32) * (255 / 65535)
        return np.repeat(np.rint(gray).astype(np.uint8)[..., None], 3, axis=2)
    return np.array(image.convert("RGB"))  # writable, as torch wants it
