"""Random numbers by key: exactly splitmix64, independent of the request, and uncorrelated."""

import itertools

import numpy as np
import pytest

from bn.data.draws import splitmix64, uniform

PUBLISHED = {  # the first outputs of the generator's public-domain code
    0: [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F],
    1234567: [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ],
}


class Splitmix64:
    """The published generator in Python integers."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) % 2**64
        z = self.state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    def nth(self, n):
        return [self.next() for _ in range(n + 1)][-1]


@pytest.mark.parametrize("seed", PUBLISHED)
def test_the_published_outputs(seed):
    expected = PUBLISHED[seed]
    n = np.arange(len(expected), dtype=np.uint64)
    assert splitmix64(np.array([seed], np.uint64), n).tolist() == expected
    reference = Splitmix64(seed)
    assert [reference.next() for _ in expected] == expected


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
@pytest.mark.parametrize("epoch", [0, 773])
def test_numbers_come_from_a_tree_of_generators(seed, epoch):
    examples = np.array([0, 1, 2, 1000], np.int64)
    of_epoch = Splitmix64(seed).nth(epoch)
    leaves = [Splitmix64(Splitmix64(of_epoch).nth(int(example))) for example in examples]
    expected = [[leaf.next() // 2**11 / 2**53 for _ in range(5)] for leaf in leaves]
    assert uniform(seed, epoch, examples, 5).tolist() == expected


def test_numbers_do_not_depend_on_the_rest_of_the_request():
    all_at_once = uniform(3, 7, np.arange(1000), 30)
    assert all_at_once.dtype == np.float64
    some = np.array([999, 0, 512, 512])
    assert np.array_equal(uniform(3, 7, some, 30), all_at_once[some])
    assert np.array_equal(uniform(3, 7, some, 4), all_at_once[some, :4])
    assert uniform(3, 7, np.array([], np.int64), 4).shape == (0, 4)


@pytest.fixture(scope="module")
def grid():
    """Numbers by seed (including 0), epoch, example and draw."""
    return np.array([[uniform(seed, epoch, np.arange(2000), 12) for epoch in range(5)] for seed in range(3)])


def test_no_two_keys_give_the_same_number(grid):
    """Keys that are added or xored would: example 1, draw 0 would equal example 0, draw 1."""
    assert len(np.unique(grid)) == grid.size


def test_uniform_in_high_and_low_bits(grid):
    assert grid.min() >= 0
    assert grid.max() < 1
    integers = grid.ravel() * 2**53
    assert np.array_equal(integers, np.floor(integers))
    for position in (47, 24, 0):  # the lowest of six bits
        counts = np.bincount((integers.astype(np.int64) >> position) % 64, minlength=64)
        expected = grid.size / 64
        chi_squared = ((counts - expected) ** 2 / expected).sum()
        assert abs(chi_squared - 63) < 5 * (2 * 63) ** 0.5


@pytest.mark.parametrize("lags", [lags for lags in itertools.product((-1, 0, 1), repeat=4) if any(lags)])
def test_neighbors_are_uncorrelated(grid, lags):
    """Adjacent seeds, epochs, examples and draws, and all diagonals."""
    here = grid[
        tuple(slice(max(0, -lag), size - max(0, lag)) for lag, size in zip(lags, grid.shape, strict=True))
    ]
    there = grid[
        tuple(slice(max(0, lag), size - max(0, -lag)) for lag, size in zip(lags, grid.shape, strict=True))
    ]
    correlation = np.corrcoef(here.ravel(), there.ravel())[0, 1]
    assert abs(correlation) < 5 / here.size**0.5
