"""Everything random descends from one seed.

Each use of randomness (initial weights, the order of an epoch, ...) names itself and gets a stream
of its own, so that adding one does not move the others and a resumed run needs no saved position.
"""

import hashlib

import torch


def derive_seed(seed: int, *path: int | str) -> int:
    """A 63-bit seed for the use named by `path`, e.g. ``derive_seed(0, "order", epoch)``."""
    text = "/".join(map(str, (seed, *path)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *path: int | str) -> torch.Generator:
    """A CPU generator seeded with `derive_seed`: the same numbers whatever the device trained on."""
    return torch.Generator().manual_seed(derive_seed(seed, *path))
