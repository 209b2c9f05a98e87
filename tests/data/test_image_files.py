"""Image files in all formats: their pixels, or why they cannot be read."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from bn.data.image_files import BrokenImage, open_image
from tests.data.made import encoded, smooth

PHOTO = smooth(1, 60, 80)
NO_IMAGE = "not an image; accepted: BMP, JPEG, PNG, PPM, WEBP"


KINDS = {
    "JPEG": lambda image: encoded(image, "jpeg", quality=95),
    "JPEG with halved chroma": lambda image: encoded(image, "jpeg", subsampling="4:2:0"),
    "progressive JPEG": lambda image: encoded(image, "jpeg", progressive=True),
    "gray JPEG": lambda image: encoded(image.convert("L"), "jpeg"),
    "CMYK JPEG": lambda image: encoded(image.convert("CMYK"), "jpeg"),
    "JPEG stored as RGB": lambda image: encoded(image, "jpeg", keep_rgb=True),
    "PNG": lambda image: encoded(image, "png"),
    "PNG with transparency": lambda image: encoded(image.convert("RGBA"), "png"),
    "PNG with a palette": lambda image: encoded(image.convert("P"), "png"),
    "gray PNG": lambda image: encoded(image.convert("L"), "png"),
    "BMP": lambda image: encoded(image, "bmp"),
    "WebP": lambda image: encoded(image, "webp"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_formats_are_detected_by_content_and_read_like_pil(read, kind):
    content = KINDS[kind](Image.fromarray(PHOTO))
    found = read(content)
    reference = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    assert found.shape == (60, 80, 3)
    assert found.dtype == np.uint8
    assert np.abs(found - reference).max() <= 1  # two builds of one JPEG library
    assert np.abs(reference - PHOTO).mean() < 60  # the reference itself is right


def test_a_jpeg_with_extra_bytes_is_read(read):
    """libjpeg-turbo rejects such files, which ImageNet contains; no pixels are lost."""
    content = encoded(PHOTO, "jpeg")
    assert np.array_equal(read(content[:-2] + bytes(7) + content[-2:]), read(content))
    assert np.array_equal(read(content + b"appended"), read(content))


def exif(damage):
    """A JPEG with a damaged EXIF block."""
    block = b"Exif\0\0" + damage
    content = encoded(PHOTO, "jpeg")
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + content[2:]


@pytest.mark.parametrize("damage", [b"MM\0*\0\0\0\x08\xff\xff" + bytes(range(60)), b"nonsense"])
def test_damaged_exif_is_ignored(read, damage):
    """PIL warns about it, and the tests turn warnings into errors."""
    assert np.array_equal(read(exif(damage)), read(encoded(PHOTO, "jpeg")))
    cmyk = encoded(Image.fromarray(PHOTO).convert("CMYK"), "jpeg", exif=b"Exif\0\0" + damage)
    assert read(cmyk).shape == (60, 80, 3)


def test_a_large_image_gives_no_warning(read, monkeypatch):
    """PIL warns above MAX_IMAGE_PIXELS, and refuses twice as many."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60 * 80 - 1)
    assert read(encoded(PHOTO, "png")).shape == (60, 80, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60 * 80 // 2 - 1)
    with pytest.raises(BrokenImage):
        read(encoded(PHOTO, "png"))


def png_with_a_wrong_checksum():
    content = bytearray(encoded(PHOTO, "png"))
    content[content.index(b"IDAT") + 40] ^= 0xFF
    return bytes(content)


JPEG = encoded(PHOTO, "jpeg", quality=95)
BROKEN = {
    "empty": (b"", NO_IMAGE),
    "text": (b"404: not found", NO_IMAGE),
    "a web page in HTML": (b"<!DOCTYPE html><html></html>", NO_IMAGE),
    "JPEG cut short": (JPEG[: len(JPEG) // 2], "a truncated JPEG file"),
    "JPEG without its last bytes": (JPEG[:-40], "a truncated JPEG file"),
    "JPEG filled up with zeros": (JPEG[:1500].ljust(len(JPEG), b"\0"), "a truncated JPEG file"),
    "JPEG's header alone": (JPEG[:100], None),
    "PNG cut short": (encoded(PHOTO, "png")[:2000], None),
    "PNG with a wrong checksum": (png_with_a_wrong_checksum(), None),
    "PNG of an absurd size": (
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (header := struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
        + struct.pack(">I", zlib.crc32(b"IHDR" + header)), None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_unreadable_images_are_refused_instead_of_filled_with_gray(read, tmp_path, kind):
    content, reason = BROKEN[kind]
    with pytest.raises(BrokenImage) as error:
        read(content)
    line = str(error.value)
    assert line.startswith(f"{tmp_path / 'image'}: cannot be read (")
    assert "\n" not in line
    assert "0x" not in line  # no object addresses
    assert reason is None or f"({reason})" in line


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(BrokenImage, match="No such file"):
        open_image(str(tmp_path / "nowhere.jpg"))
    with pytest.raises(BrokenImage, match="Is a directory"):
        open_image(str(tmp_path))
