"""Which images share a mini-batch: shuffled by shard, within shards, or completely (section 4.2.1)."""

import time

import numpy as np
import pytest
import torch

from bn.data.order import EpochOrder, ImageOrder
from bn.errors import UserError

SHUFFLES = ("by_shard", "within_shards", "complete")
EXAMPLES, BATCH, SHARD = 1000, 20, 100


def epoch_of(order, epoch):
    """(mini-batches, share) indices."""
    first = epoch * order.batches_per_epoch
    steps = [order(n) for n in range(first, first + order.batches_per_epoch)]
    assert {number for number, _ in steps} == {epoch}
    return np.stack([indices for _, indices in steps])


def meetings(batches):
    return {frozenset(batch) for batch in batches.tolist()}


def shards_of(examples, shard_size, seed):
    """The shard of each example (examples,), read from "by_shard" with one shard per mini-batch."""
    batches = epoch_of(ImageOrder(examples, shard_size, seed, "by_shard", shard_size), 0)
    shards = np.full(examples, -1)  # -1: in a smaller last shard
    shards[batches] = np.arange(len(batches))[:, None]
    return shards


@pytest.mark.parametrize("shuffle", SHUFFLES)
@pytest.mark.parametrize(
    ("examples", "batch", "shard"),
    [
        (1000, 20, 100),
        (1000, 32, 96),
        (1007, 32, 96),
        (500, 500, 100),
        (100, 7, 1000),
        (64, 8, 3),
        (50, 9, 1),
    ],
)
def test_an_epoch_uses_examples_once_and_omits_less_than_a_mini_batch(shuffle, examples, batch, shard):
    order = ImageOrder(examples, batch, 0, shuffle, shard)
    assert order.batches_per_epoch == examples // batch
    for epoch in range(3):
        batches = epoch_of(order, epoch)
        assert (batches.shape, batches.dtype) == ((examples // batch, batch), np.int64)
        assert len(np.unique(batches)) == batches.size > examples - batch
        assert 0 <= batches.min() <= batches.max() < examples


@pytest.mark.parametrize("examples", [EXAMPLES, EXAMPLES - 40, EXAMPLES - 33])
def test_by_shard_the_same_examples_share_mini_batches_in_every_epoch(examples):
    """Even if the last shard is smaller, or not a whole number of mini-batches."""
    order = ImageOrder(examples, BATCH, 0, "by_shard", SHARD)
    epochs = [epoch_of(order, epoch) for epoch in range(4)]
    for other in epochs[1:]:
        assert meetings(other) == meetings(epochs[0])
        assert not np.array_equal(other, epochs[0])
    in_place = [tuple(epoch[::5, 0]) for epoch in epochs]  # the first example of each shard
    assert len(set(in_place)) == 4
    assert len({first for first, *_ in in_place}) > 1


@pytest.mark.parametrize("left_over", [7, 19])
def test_by_shard_the_remainder_is_never_used(left_over):
    """As the docstring warns. Within shards the remainder changes, see below."""
    order = ImageOrder(EXAMPLES + left_over, BATCH, 0, "by_shard", SHARD)
    seen = np.concatenate([epoch_of(order, epoch).ravel() for epoch in range(30)])
    assert len(np.unique(seen)) == EXAMPLES


def test_by_shard_mini_batches_recur_in_part_if_they_do_not_divide_a_shard():
    order = ImageOrder(EXAMPLES, 32, 0, "by_shard", SHARD)
    one, other = (meetings(epoch_of(order, epoch)) for epoch in range(2))
    assert len(one & other) < len(one) / 2
    together = [max(len(batch & another) for another in other) for batch in one]
    assert min(together) >= 8  # of 32: half of the larger part in one shard


def test_shards_are_random_subsets():
    shards = shards_of(10_000, 100, 0)
    assert np.bincount(shards).tolist() == [100] * 100
    assert (
        abs(np.corrcoef(shards[:-1], shards[1:])[0, 1]) < 5 / 10_000**0.5
    )  # neighbors are mostly in one class
    assert (shards == shards_of(10_000, 100, 1)).mean() < 0.05


@pytest.mark.parametrize("shuffle", ["by_shard", "within_shards"])
@pytest.mark.parametrize("batch", [20, 32])
def test_a_mini_batch_spans_at_most_two_consecutive_shards(shuffle, batch):
    shards = shards_of(EXAMPLES, SHARD, 0)
    order = ImageOrder(EXAMPLES, batch, 0, shuffle, SHARD)
    for epoch in range(3):
        batches = epoch_of(order, epoch)
        of_one_batch = [len(set(shards[indices])) for indices in batches]
        assert set(of_one_batch) == ({1} if SHARD % batch == 0 else {1, 2})
        line = shards[batches.ravel()]
        assert np.count_nonzero(np.diff(line)) == len(set(line)) - 1  # one shard after another


def test_within_shards_mini_batches_differ_in_every_epoch():
    order = ImageOrder(EXAMPLES, BATCH, 0, "within_shards", SHARD)
    epochs = [epoch_of(order, epoch) for epoch in range(4)]
    for i, one in enumerate(epochs):
        for other in epochs[:i]:
            assert not meetings(one) & meetings(other)
            together = [max(len(a & b) for b in meetings(other)) for a in meetings(one)]
            assert max(together) <= 12  # of 20, drawn from 100: 4 on average
    shards = shards_of(EXAMPLES, SHARD, 0)
    assert len({tuple(shards[epoch[::5, 0]]) for epoch in epochs}) == 4  # the order of the shards


def test_within_shards_each_example_of_a_smaller_last_shard_is_used():
    order = ImageOrder(EXAMPLES + 7, BATCH, 0, "within_shards", SHARD)
    seen = np.concatenate([epoch_of(order, epoch).ravel() for epoch in range(30)])
    assert len(np.unique(seen)) == EXAMPLES + 7


def test_complete_mixes_all_shards_and_equals_mnists_order():
    order = ImageOrder(EXAMPLES, BATCH, 0, "complete", SHARD)
    shards = shards_of(EXAMPLES, SHARD, 0)
    epochs = [epoch_of(order, epoch) for epoch in range(2)]
    assert not meetings(epochs[0]) & meetings(epochs[1])
    assert min(len(set(shards[indices])) for indices in epochs[0]) >= 5  # of 10 shards, in 20 examples
    plain = EpochOrder(EXAMPLES, BATCH, 0, torch.device("cpu"))
    assert all(np.array_equal(order(n)[1], plain(n).numpy()) for n in (0, 49, 50, 120))


@pytest.mark.parametrize("shuffle", SHUFFLES)
def test_the_shares_of_the_ranks_form_the_mini_batch(shuffle):
    whole = ImageOrder(EXAMPLES, BATCH, 3, shuffle, SHARD)
    ranks = [ImageOrder(EXAMPLES, BATCH, 3, shuffle, SHARD, rank, 4) for rank in range(4)]
    for n in (0, 1, 49, 50, 99, 150):
        epoch, indices = whole(n)
        shares = [order(n) for order in ranks]
        assert {(number, share.shape) for number, share in shares} == {(epoch, (BATCH // 4,))}
        assert np.array_equal(np.concatenate([share for _, share in shares]), indices)


@pytest.mark.parametrize("shuffle", SHUFFLES)
def test_mini_batches_depend_on_seed_and_step_only(shuffle):
    def fresh(seed=0):
        return ImageOrder(EXAMPLES, BATCH, seed, shuffle, SHARD)

    forward = fresh()
    expected = [forward(n) for n in range(150)]
    torch.manual_seed(5)  # no generator state is used
    jumping = fresh()
    for n in np.random.default_rng(0).permutation(150):
        epoch, indices = jumping(int(n))
        assert (epoch, indices.tolist()) == (expected[n][0], expected[n][1].tolist())
    assert not any(np.array_equal(fresh(1)(n)[1], expected[n][1]) for n in (0, 50, 100))


@pytest.mark.parametrize("shuffle", SHUFFLES)
def test_a_step_of_imagenet_is_cheap(shuffle):
    """The order is computed once per epoch: 1000 times would take a minute."""
    order = ImageOrder(1_281_167, 32, 0, shuffle, 1024)
    start = time.perf_counter()
    for n in range(1000):
        order(n)
    assert time.perf_counter() - start < 5


def test_a_mini_batch_larger_than_the_data_is_one_line():
    with pytest.raises(UserError, match=r"^optim.batch=33: accepted: at most the 32 training examples$"):
        ImageOrder(32, 33, 0, "complete", 8)
