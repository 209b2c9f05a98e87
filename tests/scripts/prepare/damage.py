"""Damaged archives, and what preparing from them says and takes."""

import random
import tracemalloc

from bn.errors import UserError

FLIPS = 150
LARGE = 48 << 20


def outcome(prepare):
    """The message of the UserError, or "" without one. Other exceptions propagate."""
    try:
        prepare()
    except UserError as error:
        line = str(error)
    else:
        return ""
    assert "\n" not in line
    return line


def flipped(content, seed):
    draw = random.Random(seed)
    damaged = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 5))):
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
    return bytes(damaged)


def peak_of(work):
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
