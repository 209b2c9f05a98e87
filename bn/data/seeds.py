"""Derivation of all random numbers from one seed.

Each use of randomness (initial weights, the order of an epoch, ...) has a name and a stream of its own.
Adding one therefore does not change the others, and a resumed run needs no saved position.
"""

import hashlib

import torch


def derive_seed(seed: int, *path: int | str) -> int:
    """Derive a 63-bit seed for the use named by `path`, e.g. ``derive_seed(0, "order", epoch)``."""
    text = "/".join(map(str, (seed, *path)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *path: int | str) -> torch.Generator:
    """A CPU generator seeded by `derive_seed`, so that numbers do not depend on the training device."""
    return torch.Generator().manual_seed(derive_seed(seed, *path))
