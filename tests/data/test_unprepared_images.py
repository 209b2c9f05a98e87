"""Unusual images are read correctly or refused by name, never silently wrong."""

import io
import itertools
import os
import struct

import numpy as np
import pytest
from PIL import Image

from bn.data import image_files
from bn.data.image_files import FORMATS, LIMIT, BrokenImage, open_image
from tests.data.made import encoded, smooth

RAMP = np.linspace(0, 1, 40, dtype=np.float64).reshape(5, 8)  # from black to white
PIXELS = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)


def gray(bits, kind):
    """The ramp over the whole range of an integer type, as bytes."""
    return np.rint(RAMP * (2**bits - 1)).astype(kind)


def netpbm(kind, maximum):
    values = np.rint(RAMP * maximum).astype(">u2" if maximum > 255 else "u1")
    channels = 3 if kind == "P6" else 1
    return f"{kind}\n8 5\n{maximum}\n".encode() + np.repeat(values[..., None], channels, 2).tobytes()


SCALED = {
    "8-bit PNG": encoded(Image.fromarray(gray(8, np.uint8)), "png"),
    "16-bit PNG": encoded(Image.fromarray(gray(16, np.uint16)), "png"),
    **{
        f"{kind} up to {maximum}": netpbm(kind, maximum)
        for kind, maximum in itertools.product(("P5", "P6"), (1, 100, 255, 256, 1023, 4095, 40_000, 65_535))
        if maximum > 1
    },
}


@pytest.mark.parametrize("kind", SCALED)
def test_gray_of_any_depth_is_scaled_by_its_range(read, kind):
    found = read(SCALED[kind])
    assert found.dtype == np.uint8
    expected = np.repeat(np.rint(RAMP * 255)[..., None], 3, 2)
    assert np.abs(found - expected).max() <= 2  # a maximum value of 100 is coarser than bytes


def test_floating_point_is_refused_by_name(read, tmp_path):
    with pytest.raises(BrokenImage) as error:
        read(b"Pf\n8 5\n-1.0\n" + RAMP.astype("<f4").tobytes())
    reason = "gray in floating point, of unknown range; accepted: 8 or 16 bits"
    assert str(error.value).startswith(f"{tmp_path / 'image'}: cannot be read ({reason})")


OTHERS = sorted(set(Image.SAVE) - {*FORMATS, "JPEG2000", "PDF"})


@pytest.mark.parametrize("name", ["image.jpeg", "image.png"])
@pytest.mark.parametrize("kind", OTHERS)
def test_other_formats_are_refused_whatever_the_name(read, monkeypatch, name, kind):
    """Including EPS, for which PIL starts Ghostscript."""
    image = Image.fromarray(PIXELS)
    content = None
    for mode in ("RGB", "L", "1", "P"):
        try:
            content = encoded(image.convert(mode), kind)
            break
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            continue
    if content is None or Image.open(io.BytesIO(content)).format in FORMATS:
        pytest.skip(f"this PIL writes no {kind}")
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("started a program"))
    with pytest.raises(BrokenImage, match="not an image; accepted: BMP, JPEG, PNG, PPM, WEBP"):
        read(content, name)


ORIENTATION = 0x112
LOSSLESS = {"jpeg": {"quality": 95}, "png": {}, "webp": {"lossless": True}}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", LOSSLESS)
def test_exif_orientation_is_not_applied(read, kind, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = Image.fromarray(smooth(3, 40, 64))
    options = LOSSLESS[kind]
    assert np.array_equal(
        read(encoded(image, kind, exif=exif, **options)), read(encoded(image, kind, **options))
    )


def pipe(path):
    os.mkfifo(path)


def socket_file(path):
    import socket

    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


SPECIAL = {
    "a pipe": pipe,
    "a folder": lambda path: path.mkdir(),
    "a socket": socket_file,
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to a pipe": lambda path: (pipe(path.with_name("pipe")), path.symlink_to("pipe")),
    **{f"a link to {device}": lambda path, d=device: path.symlink_to(d) for device in
       ("/dev/zero", "/dev/null", "/dev/random", "/dev/full")},
}  # fmt: skip


@pytest.mark.parametrize("name", ["image.JPEG", "image.png"])
@pytest.mark.parametrize("kind", SPECIAL)
def test_only_regular_files_are_read(tmp_path, monkeypatch, kind, name):
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    path = tmp_path / name
    SPECIAL[kind](path if kind != "a socket" else type(path)(name))
    with pytest.raises(BrokenImage) as error:
        open_image(str(path))
    assert str(error.value).startswith(f"{path}: cannot be read (")


def test_a_link_to_a_regular_file_is_read(tmp_path):
    (tmp_path / "kept").write_bytes(encoded(PIXELS))
    (tmp_path / "image.png").symlink_to("kept")
    assert np.array_equal(open_image(str(tmp_path / "image.png")).pixels(), PIXELS)


def headed(kind, width, height):
    """A few bytes whose header declares an image of this size."""
    if kind == "png":
        content = encoded(PIXELS, "png")
        head = struct.pack(">4sIIBBBBB", b"IHDR", width, height, 8, 2, 0, 0, 0)
        import zlib

        return content[:12] + head + struct.pack(">I", zlib.crc32(head)) + content[33:]
    if kind == "bmp":
        content = bytearray(encoded(PIXELS, "bmp"))
        content[18:26] = struct.pack("<ii", width, height)
        return bytes(content)
    if kind == "ppm":
        return f"P6\n{width} {height}\n255\n".encode() + bytes(100)
    content = bytearray(encoded(smooth(1), "jpeg"))
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)


@pytest.mark.parametrize("kind", ["jpeg", "png", "bmp", "ppm"])
@pytest.mark.parametrize("size", [(13_000, 13_000), (65_000, 1_033), (1_033, 65_000), (8_193, 8_192)])
def test_an_image_with_too_many_pixels_is_refused_undecoded(tmp_path, monkeypatch, kind, size):
    width, height = size
    monkeypatch.setattr(image_files, "_rgb", lambda _: pytest.fail("decoded"))
    path = tmp_path / f"image.{kind}"
    path.write_bytes(headed(kind, width, height))
    with pytest.raises(BrokenImage) as error:
        open_image(str(path))
    assert f"({width}x{height} pixels; accepted: at most {LIMIT} in all)" in str(error.value)


@pytest.mark.parametrize("kind", ["jpeg", "png", "bmp", "ppm"])
def test_opening_decodes_nothing(tmp_path, monkeypatch, kind):
    """All images of a mini-batch are opened first, which must not hold their pixels in memory."""
    path = tmp_path / f"image.{kind}"
    path.write_bytes(headed(kind, 8_000, 8_000))
    monkeypatch.setattr(image_files, "_rgb", lambda _: pytest.fail("decoded"))
    monkeypatch.setattr("simplejpeg.decode_jpeg", lambda *_, **__: pytest.fail("decoded"))
    assert open_image(str(path)).size == (8_000, 8_000)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "sparse.png"
    with path.open("wb") as file:
        file.write(encoded(PIXELS))
        file.truncate(1 << 40)
    with pytest.raises(BrokenImage, match=f"^.*{1 << 40} bytes; accepted: at most"):
        open_image(str(path))
