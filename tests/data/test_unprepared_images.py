"""Images that nobody prepared: right, or refused with the file's name; never silently wrong."""

import io
import itertools
import os
import struct

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from bn.data import jpeg
from bn.data.jpeg import FORMATS, LIMIT, BrokenImage, open_picture
from tests.data.made import encoded, smooth

RAMP = np.linspace(0, 1, 40, dtype=np.float64).reshape(5, 8)  # from black to white
PIXELS = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)


@pytest.fixture
def read(tmp_path):
    """The pixels of a file with this content."""

    def pixels(content, name="picture.png"):
        path = tmp_path / name
        path.write_bytes(content)
        picture = open_picture(str(path))
        found, _ = picture.pixels()
        assert found.shape == (*picture.size, 3)
        return found

    return pixels


def gray(bits, kind):
    """The ramp over the whole range of so many bits, as bytes of this type."""
    return np.rint(RAMP * (2**bits - 1)).astype(kind)


def tiff(pixels, bits, sample_format=1, photometric=1, order="<"):
    """A TIFF of one strip, written by hand: PIL writes few of the kinds that it reads."""
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    body = pixels.tobytes()
    where = 8 + 2 + 12 * 10 + 4
    entries = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, bits), (259, 3, 1, 1), (262, 3, 1, photometric),
        (273, 4, 1, where), (277, 3, 1, channels), (278, 4, 1, height), (279, 4, 1, len(body)),
        (339, 3, 1, sample_format),
    ]  # fmt: skip
    head = struct.pack(f"{order}2sHIH", b"II" if order == "<" else b"MM", 42, 8, len(entries))
    for tag, kind, count, value in entries:
        head += struct.pack(f"{order}HHI", tag, kind, count)
        head += struct.pack(f"{order}HH", value, 0) if kind == 3 else struct.pack(f"{order}I", value)
    return head + bytes(4) + body


def netpbm(kind, maximum):
    values = np.rint(RAMP * maximum).astype(">u2" if maximum > 255 else "u1")
    channels = 3 if kind == "P6" else 1
    return f"{kind}\n8 5\n{maximum}\n".encode() + np.repeat(values[..., None], channels, 2).tobytes()


def packed_12_bits():
    values = gray(12, np.uint16).reshape(5, 8)
    rows = []
    for row in values:
        for a, b in row.reshape(-1, 2).tolist():
            rows += [a >> 4, (a & 15) << 4 | b >> 8, b & 255]
    return np.array(rows, np.uint8)


def tiff_of_12_bits():
    content = tiff(np.zeros((5, 8), np.uint8), 12)
    strip = packed_12_bits().tobytes()
    body = content[:-40] + strip
    return body.replace(struct.pack("<HHII", 279, 4, 1, 40), struct.pack("<HHII", 279, 4, 1, len(strip)))


SCALED = {
    "8-bit PNG": encoded(Image.fromarray(gray(8, np.uint8)), "png"),
    "16-bit PNG": encoded(Image.fromarray(gray(16, np.uint16)), "png"),
    "16-bit TIFF as PIL writes it": encoded(Image.fromarray(gray(16, np.uint16)), "tiff"),
    "12-bit TIFF": tiff_of_12_bits(),
    **{
        f"{bits}-bit TIFF, {order}": tiff(gray(bits, f"{order}u{bits // 8}"), bits, order=order)
        for bits, order in itertools.product((8, 16), "<>")
    },
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
    assert np.abs(found - expected).max() <= 2  # a maximum of 100 is coarser than bytes


KINDS = {"u4": (1, 30), "i4": (2, 30), "f4": (3, 1), "f8": (3, 1), "i2": (2, 15)}  # sample format, bits used
REFUSED = {
    **{
        f"TIFF of {kind}, {order}": tiff(
            gray(bits, f"{order}{kind}"), 8 * int(kind[1]), sample_format, order=order
        )
        for (kind, (sample_format, bits)), order in itertools.product(KINDS.items(), "<>")
    },
    "16 bits with white as 0": tiff(gray(16, "<u2"), 16, photometric=0),
    "floats with white as 0": tiff(RAMP.astype("<f4"), 32, 3, photometric=0),
    "32 bits as PIL writes them": encoded(Image.fromarray(gray(31, np.int32)), "tiff"),
    "floats as PIL writes them": encoded(Image.fromarray(RAMP.astype(np.float32)), "tiff"),
    "PFM": b"Pf\n8 5\n-1.0\n" + RAMP.astype("<f4").tobytes(),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_has_no_known_range_is_refused_by_name(read, tmp_path, kind):
    with pytest.raises(BrokenImage) as error:
        read(REFUSED[kind])
    assert error.value.name == str(tmp_path / "picture.png")
    assert "\n" not in error.value.reason
    assert "accepted" in error.value.reason


OTHERS = sorted(set(Image.SAVE) - {*FORMATS, "JPEG2000", "PDF"})


@pytest.mark.parametrize("name", ["picture.jpeg", "picture.png", "picture.tif"])
@pytest.mark.parametrize("kind", OTHERS)
def test_no_other_format_whatever_its_name_says(read, monkeypatch, name, kind):
    """EPS among them, for which PIL starts Ghostscript."""
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
    with pytest.raises(BrokenImage, match="not an image; accepted: BMP, JPEG, PNG, PPM, TIFF, WEBP"):
        read(content, name)


ORIENTATION = 0x112
LOSSLESS = {"jpeg": {"quality": 95}, "png": {}, "webp": {"lossless": True}}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", LOSSLESS)
def test_the_orientation_that_exif_states_is_not_applied(read, kind, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = Image.fromarray(smooth(3, 40, 64))
    options = LOSSLESS[kind]
    assert np.array_equal(
        read(encoded(image, kind, exif=exif, **options)), read(encoded(image, kind, **options))
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_of_a_tiff_size_and_pixels_agree_whatever_its_orientation(read, orientation):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[ORIENTATION] = orientation
    found = read(encoded(Image.fromarray(PIXELS), "tiff", tiffinfo=tags))
    assert sorted(found.ravel().tolist()) == sorted(PIXELS.ravel().tolist())


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


@pytest.mark.parametrize("name", ["picture.JPEG", "picture.png"])
@pytest.mark.parametrize("kind", SPECIAL)
def test_only_regular_files_are_read(tmp_path, monkeypatch, kind, name):
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    path = tmp_path / name
    SPECIAL[kind](path if kind != "a socket" else type(path)(name))
    with pytest.raises(BrokenImage) as error:
        open_picture(str(path))
    assert error.value.name == str(path)


def test_a_link_to_a_regular_file_is_read(tmp_path):
    (tmp_path / "kept").write_bytes(encoded(PIXELS))
    (tmp_path / "picture.png").symlink_to("kept")
    assert np.array_equal(open_picture(str(tmp_path / "picture.png")).pixels()[0], PIXELS)


def headed(kind, width, height):
    """An image of this size as its header says, and of a few bytes."""
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
    if kind == "tiff":
        content = tiff(gray(8, np.uint8), 8)
        for tag, old, new in ((256, 8, width), (257, 5, height)):
            content = content.replace(
                struct.pack("<HHII", tag, 4, 1, old), struct.pack("<HHII", tag, 4, 1, new)
            )
        return content
    content = bytearray(encoded(smooth(1), "jpeg"))
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)


@pytest.mark.parametrize("kind", ["jpeg", "png", "bmp", "ppm", "tiff"])
@pytest.mark.parametrize("size", [(13_000, 13_000), (65_000, 1_033), (1_033, 65_000), (8_193, 8_192)])
def test_an_image_of_too_many_pixels_is_refused_undecoded(tmp_path, monkeypatch, kind, size):
    width, height = size
    monkeypatch.setattr(jpeg, "_rgb", lambda _: pytest.fail("decoded"))
    path = tmp_path / f"picture.{kind}"
    path.write_bytes(headed(kind, width, height))
    with pytest.raises(BrokenImage) as error:
        open_picture(str(path))
    assert error.value.reason == f"{width}x{height} pixels; accepted: at most {LIMIT} in all"


@pytest.mark.parametrize("kind", ["jpeg", "png", "bmp", "ppm", "tiff"])
def test_opening_decodes_nothing(tmp_path, monkeypatch, kind):
    """All images of a mini-batch are opened together: only their content is in memory then."""
    path = tmp_path / f"picture.{kind}"
    path.write_bytes(headed(kind, 8_000, 8_000))
    monkeypatch.setattr(jpeg, "_rgb", lambda _: pytest.fail("decoded"))
    monkeypatch.setattr("simplejpeg.decode_jpeg", lambda *_, **__: pytest.fail("decoded"))
    assert open_picture(str(path)).size == (8_000, 8_000)


def test_a_file_larger_than_any_image_is_not_read(tmp_path):
    path = tmp_path / "sparse.png"
    with path.open("wb") as file:
        file.write(encoded(PIXELS))
        file.truncate(1 << 40)
    with pytest.raises(BrokenImage, match=f"^.*{1 << 40} bytes; accepted: at most"):
        open_picture(str(path))
