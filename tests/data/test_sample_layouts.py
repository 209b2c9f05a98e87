"""TIFF, PNG and PNM in every layout of their samples: the same pixels, or refused; never others.

The files are written here, sample by sample, so that no library's idea of them is needed.
"""

import itertools
import struct
import zlib

import numpy as np
import pytest

from bn.data.jpeg import BrokenImage, open_picture

SIZE = (9, 7)
BLACK_IS_ZERO, WHITE_IS_ZERO, RGB = 1, 0, 2


def tiff(samples, bits, photometric, planar, order, signed):
    """An uncompressed TIFF of (h, w, n) samples, in one strip, or one for each plane."""
    height, width, n = samples.shape
    planes = np.moveaxis(samples, 2, 0) if planar == 2 else samples[None]
    data = planes.astype(f"{order}u{bits // 8}").tobytes()
    begin, each = 8 + 250, len(data) // len(planes)
    offsets = [begin + each * i for i in range(len(planes))]
    long, short = ("I", 4), ("H", 3)
    tags = {
        256: (long, [width]), 257: (long, [height]), 258: (short, [bits] * n), 259: (short, [1]),
        262: (short, [photometric]), 273: (long, offsets), 277: (short, [n]), 278: (long, [height]),
        279: (long, [each] * len(planes)), 284: (short, [planar]), 339: (short, [2 if signed else 1] * n),
    }  # fmt: skip
    entries, more = b"", b""
    for tag, ((letter, kind), values) in tags.items():
        packed = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(packed) > 4:
            packed, more = struct.pack(f"{order}I", 8 + 2 + 12 * len(tags) + 4 + len(more)), more + packed
        entries += struct.pack(f"{order}HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    head += struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + more
    return head.ljust(begin, b"\0") + data


def png(samples, bits):
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[samples.shape[2]]
    rows = b"".join(b"\0" + row.astype(f">u{bits // 8}").tobytes() for row in samples)
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", SIZE[1], SIZE[0], bits, colour, 0, 0, 0),
        b"IDAT": zlib.compress(rows), b"IEND": b"",
    }  # fmt: skip
    chunks = (
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part))
        for name, part in parts.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def pnm(samples, most, text):
    number = {1: 5, 3: 6}[samples.shape[2]] - (3 if text else 0)
    head = b"P%d %d %d %d\n" % (number, SIZE[1], SIZE[0], most)
    if text:
        return head + " ".join(map(str, samples.ravel())).encode()
    return head + samples.astype(">u2" if most > 255 else "u1").tobytes()


def made(n, most, seed):
    return np.random.default_rng(seed).integers(0, most + 1, (*SIZE, n))


def rgb(samples, most):
    """As 8 bits, without what is transparent."""
    shown = samples[..., :1] if samples.shape[2] < 3 else samples[..., :3]
    return np.broadcast_to(np.rint(shown * 255 / most), (*SIZE, 3))


def cases():
    for bits, order, planar, signed in itertools.product((8, 16, 32), "<>", (1, 2), (False, True)):
        most = 2 ** (bits - signed) - 1
        for photometric, n in ((BLACK_IS_ZERO, 1), (WHITE_IS_ZERO, 1), (RGB, 3), (RGB, 4)):
            samples = made(n, most, bits)
            shown = most - samples if photometric == WHITE_IS_ZERO else samples
            name = f"{n}x{bits}{'s' * signed}{order}-{photometric}-{planar}.tif"
            yield name, tiff(samples, bits, photometric, planar, order, signed), rgb(shown, most)
    for bits, n in itertools.product((8, 16), (1, 2, 3, 4)):
        samples = made(n, 2**bits - 1, bits)
        yield f"{n}x{bits}.png", png(samples, bits), rgb(samples, 2**bits - 1)
    for most, n, text in itertools.product((1, 7, 100, 255, 256, 1023, 65534, 65535), (1, 3), (False, True)):
        samples = made(n, most, most)
        yield (
            f"{n}x{most}{'t' * text}.{'pgm' if n == 1 else 'ppm'}",
            pnm(samples, most, text),
            rgb(samples, most),
        )


CASES = {name: rest for name, *rest in cases()}
TAKEN = (
    "1x8<-1-1",
    "1x8>-0-1",
    "3x8<-2-2",
    "3x16>-2-1",
    "1x16<-1-1",
    "3x16.png",
    "1x1023.pgm",
    "3x65535t.ppm",
)


@pytest.mark.parametrize("name", CASES)
def test_the_pixels_or_refused(tmp_path, name):
    content, expected = CASES[name]
    (tmp_path / name).write_bytes(content)
    try:
        pixels, _ = open_picture(str(tmp_path / name)).pixels()
    except BrokenImage:
        assert not name.startswith(TAKEN)
        return
    assert abs(pixels.astype(int) - expected).max() <= 1
