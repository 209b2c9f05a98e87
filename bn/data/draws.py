"""The random numbers of a training example, as a pure function of (seed, epoch, example, draw).

No generator state is kept. How an example is distorted therefore does not depend on the worker that prepares
it, on the order, or on the rest of the mini-batch, and a resumed run needs no saved position.
"""

from typing import NamedTuple

import numpy as np

from bn.data import photometric
from bn.data.crops import BOX_DRAWS
from bn.data.seeds import derive_seed

_WORD = (1 << 64) - 1
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIER_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = np.uint64(0x94D049BB133111EB)


class Draws(NamedTuple):
    """Uniform numbers in [0, 1) for crop, mirroring and photometric distortion, one row per example."""

    box: np.ndarray  # (n, BOX_DRAWS)
    mirror: np.ndarray  # (n,)
    color: np.ndarray  # (n, photometric.DRAWS)


def draws(seed: int, epoch: int, examples: np.ndarray) -> Draws:
    u = uniform(derive_seed(seed, "distortions"), epoch, examples, BOX_DRAWS + 1 + photometric.DRAWS)
    return Draws(u[:, :BOX_DRAWS], u[:, BOX_DRAWS], u[:, BOX_DRAWS + 1 :])


def splitmix64(seed: np.ndarray, n: np.ndarray) -> np.ndarray:
    """The n-th output, from 0, of the generator splitmix64 seeded with `seed`; both uint64, broadcast.

    Steele, Lea & Flood, "Fast splittable pseudorandom number generators" (2014), with the constants of
    Vigna's public-domain code. All arithmetic is modulo 2^64.
    """
    z = seed + (n + np.uint64(1)) * _GAMMA
    z = (z ^ (z >> np.uint64(30))) * _MULTIPLIER_1
    z = (z ^ (z >> np.uint64(27))) * _MULTIPLIER_2
    return z ^ (z >> np.uint64(31))


def uniform(seed: int, epoch: int, examples: np.ndarray, draws: int) -> np.ndarray:
    """Uniform numbers (n, draws) float64 in [0, 1), multiples of 2^-53.

    A pure function of (seed, epoch, example, draw): row i depends on `examples[i]` (n, int64) but not on the
    other examples, and its first columns are the same for any number of `draws`. The numbers come from a tree
    of generators: the seed's generator yields a seed for each epoch, whose generator yields a seed for each
    example.
    """
    # Arrays of one element, because numpy warns of overflow in scalars, and overflow is intended here.
    of_epoch = splitmix64(np.array([seed & _WORD], np.uint64), np.array([epoch & _WORD], np.uint64))
    of_example = splitmix64(of_epoch, np.asarray(examples, np.int64).astype(np.uint64))
    bits = splitmix64(of_example[:, None], np.arange(draws, dtype=np.uint64))
    return (bits >> np.uint64(11)) * 2.0**-53
