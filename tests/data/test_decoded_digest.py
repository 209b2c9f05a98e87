"""The file of decoded images is taken only where it is, to the last bit, what was written."""

import random

import numpy as np
import pytest

from bn.data import decoded
from bn.data.decoded import DIGEST

FLIPS = 300
SHAPE = (7, 3, 8, 8)


@pytest.fixture
def kept(tmp_path):
    path = tmp_path / "a-8-0.pictures"
    images = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
    decoded._keep(path, images, [2, 5])
    return path, images


def test_what_was_written_is_read(kept, tmp_path):
    path, images = kept
    found = decoded._kept(path, SHAPE)
    assert found is not None
    assert np.array_equal(found[0], images)
    assert found[1] == [2, 5]
    assert [other.name for other in tmp_path.iterdir()] == [path.name]


def test_any_flipped_bit_and_any_cut_is_noticed(kept):
    path, _ = kept
    content = path.read_bytes()
    draw = random.Random(0)
    places = [*range(DIGEST + 8), *(draw.randrange(len(content)) for _ in range(FLIPS))]
    damaged = [
        content[:at] + bytes([content[at] ^ 1 << draw.randrange(8)]) + content[at + 1 :] for at in places
    ]
    damaged += [content[:cut] for cut in range(0, len(content), 37)]
    damaged += [content + b"\0", content[DIGEST:], b"\0" * len(content)]
    for what in damaged:
        path.unlink()
        path.write_bytes(what)
        assert decoded._kept(path, SHAPE) is None


def test_another_shape_is_not_taken(kept):
    path, _ = kept
    for shape in ((8, 3, 8, 8), (6, 3, 8, 8), (7, 3, 8, 9)):
        assert decoded._kept(path, shape) is None
