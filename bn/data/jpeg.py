"""A picture file: what it shows, whole or a box of it resized."""

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image


class BrokenImage(Exception):
    """A picture that cannot be read."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


def decode(content: bytes, name: str) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a picture in any format that PIL reads. BrokenImage if it cannot."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged EXIF, and sizes that PIL thinks suspicious
            with Image.open(io.BytesIO(content)) as image:
                return np.asarray(image.convert("RGB"))
    except Exception as error:  # PIL raises whatever its plugins stumble over
        raise BrokenImage(name, str(error) or type(error).__name__) from error


def read(path: str) -> bytes:
    """The file's content. BrokenImage if it is empty or cannot be read."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise BrokenImage(path, error.strerror or type(error).__name__) from error
    if not content:
        raise BrokenImage(path, "an empty file")
    return content
