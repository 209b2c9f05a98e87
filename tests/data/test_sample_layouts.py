"""PNG and PNM files in every sample layout give the same pixels.

The files are written here, sample by sample, so that no library's idea of them is needed.
"""

import itertools
import struct
import zlib

import numpy as np
import pytest

from bn.data.image_files import open_image

SIZE = (9, 7)


def png(samples, bits):
    color = {1: 0, 2: 4, 3: 2, 4: 6}[samples.shape[2]]
    rows = b"".join(b"\0" + row.astype(f">u{bits // 8}").tobytes() for row in samples)
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", SIZE[1], SIZE[0], bits, color, 0, 0, 0),
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
    """8-bit RGB without the alpha channel."""
    shown = samples[..., :1] if samples.shape[2] < 3 else samples[..., :3]
    return np.broadcast_to(np.rint(shown * 255 / most), (*SIZE, 3))


def cases():
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


@pytest.mark.parametrize("name", CASES)
def test_the_written_pixels_are_read(tmp_path, name):
    content, expected = CASES[name]
    (tmp_path / name).write_bytes(content)
    pixels = open_image(str(tmp_path / name)).pixels()
    assert abs(pixels.astype(int) - expected).max() <= 1
