"""Image files: opened first, and decoded once it is known which part is needed, and at which scale.

libjpeg-turbo decodes JPEG straight into an array, at 1/2, 1/4 or 1/8 of its size where that is enough: it
then transforms 4, 2 or 1 of 8 coefficients in each direction. PIL decodes everything else: other formats,
whatever the file's name says; CMYK; and files that libjpeg-turbo rejects although no pixels are lost.
"""

import io
import warnings
from pathlib import Path
from typing import Protocol

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

REDUCTIONS = (8, 4, 2)
LIMIT = 1 << 26  # pixels; a file that announces more is left to PIL, which knows what is too much


class BrokenImage(Exception):
    """An image that cannot be read."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason


class Picture(Protocol):
    """An image whose size is known; whether it can be decoded shows when it is."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        ...

    def pixels(self, shrink: float = 1.0) -> tuple[np.ndarray, int]:
        """(h, w, 3) uint8 RGB, reduced in size by the integer that comes with it, which is at most `shrink`.

        A point (y, x) of the image is at (y, x) / reduction in the array. BrokenImage if it cannot be read.
        """
        ...


class Decoded:
    """An image that is an array (h, w, 3) already."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.size = (array.shape[0], array.shape[1])

    def pixels(self, shrink: float = 1.0) -> tuple[np.ndarray, int]:
        return self._array, 1


class Jpeg:
    """The content of a JPEG file in gray or in colours that become RGB."""

    def __init__(self, content: bytes, size: tuple[int, int], name: str) -> None:
        self._content = content
        self._name = name
        self.size = size

    def pixels(self, shrink: float = 1.0) -> tuple[np.ndarray, int]:
        reduction = next((r for r in REDUCTIONS if r <= shrink), 1)
        height, width = (-(-side // reduction) for side in self.size)
        try:
            return simplejpeg.decode_jpeg(self._content, min_height=height, min_width=width), reduction
        except ValueError as error:
            if "Premature end" in str(error):  # PIL takes it for gray, if as many bytes are there
                raise BrokenImage(self._name, "a truncated JPEG file") from error
            return _decode(self._content, self._name), 1


def open_picture(path: str) -> Picture:
    """BrokenImage if the file cannot be read, is empty, or is no image."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise BrokenImage(path, error.strerror or type(error).__name__) from error
    if not content:
        raise BrokenImage(path, "an empty file")
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        size = int(height), int(width)
    except ValueError:
        return Decoded(_decode(content, path))
    if colours in ("CMYK", "YCCK") or size[0] * size[1] > LIMIT:
        return Decoded(_decode(content, path))
    return Jpeg(content, size, path)


def _decode(content: bytes, name: str) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged EXIF, of many pixels: the image is there
            with Image.open(io.BytesIO(content)) as image:
                return np.array(image.convert("RGB"))  # writable, as torch wants it
    except UnidentifiedImageError as error:
        raise BrokenImage(name, "not an image in a format that PIL knows") from error
    except Exception as error:  # PIL's plugins let through whatever they stumble over
        raise BrokenImage(name, str(error) or type(error).__name__) from error
