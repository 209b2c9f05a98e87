"""Several processes that train one network together: how they meet, agree, and add up what each has.

A `Team` is what the training loop and its tasks know of them. The one of a single process, `ALONE`, does
nothing at no cost: a training by one process has nothing to do with torch.distributed. Values that rule the
run go over the CPU (gloo) and are combined in float64 in the order of the ranks, so that all have the same
bits; only gradients go over NCCL where there are GPUs.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bn.config import Config
from bn.distributed.peers import Peers
from bn.distributed.ranks import Ranks
from bn.errors import Interrupted, UserError
from bn.norm.layers import is_normalization, normalization_layers
from bn.run.directory import RunDirectory

T = TypeVar("T")


class Agreed(NamedTuple):
    """What all ranks do at this step."""

    stop: int | None = None  # after saving, because of this signal
    save: bool = False


class Team:
    """The processes that train one network: this one alone, or `size` that have joined one another."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size
        self._underway: tuple[dist.Work, Tensor] | None = None

    def agree(self, stop: int | None, save: bool) -> Agreed:
        """What all ranks do at this step, of what each would: they learn of it a step later, without a wait.

        `stop` is the signal that this rank received, `save` whether rank 0 finds it is time to.
        """
        if self.size == 1:
            return Agreed(stop, save)
        agreed = self._agreed()
        wishes = torch.tensor([stop or 0, self.rank == 0 and save and not agreed.save], dtype=torch.int32)
        work = dist.all_reduce(wishes, dist.ReduceOp.MAX, async_op=True)
        assert work is not None
        self._underway = work, wishes
        return agreed

    def _agreed(self) -> Agreed:
        """What was put to agreement at the step before."""
        if self._underway is None:
            return Agreed()
        work, wishes = self._underway
        self._underway = None
        work.wait()
        stop, save = wishes.tolist()
        return Agreed(stop or None, bool(save))

    def gather(self, tensor: Tensor) -> Tensor:
        """(size, *shape): each rank's `tensor`, in order, on the CPU."""
        mine = tensor.detach().cpu().contiguous()
        if self.size == 1:
            return mine[None]
        rows = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(rows, mine)
        return torch.stack(rows)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over ranks, in order and in the type of `tensor`, on the CPU; of one `tensor` itself."""
        return tensor if self.size == 1 else in_order(list(self.gather(tensor)))

    def of_rank_0(self, value: Callable[[], T]) -> T:
        """What `value()` gives on rank 0, which is called there alone."""
        box = [value() if self.rank == 0 else None]
        if self.size > 1:
            dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]  # type: ignore[return-value]

    def data_parallel(self, network: nn.Module) -> nn.Module:
        """`network`, whose gradients in a backward pass are the mean over ranks; statistics stay each rank's.

        Over gloo the gradients are added in the order of the ranks: neither how DistributedDataParallel puts
        them into buckets, which it decides anew after its first iteration, nor the way around a ring decides
        the bits, so that a resumed run has those of an undisturbed one.
        """
        if self.size == 1:
            return network
        return data_parallel(network, self.size)


ALONE = Team()


def data_parallel(network: nn.Module, size: int) -> nn.Module:
    """`network` in DistributedDataParallel, on a GPU so that its backward pass can be captured as a graph."""
    # 1x1 kernels in channels last: their gradients are copied into the buckets.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    on_gpu = next(network.parameters()).is_cuda
    # Gradients are accumulated on the stream that is current here, and the default one cannot be captured.
    # The backward pass runs on another, with which torch synchronizes this one.
    warnings.filterwarnings("ignore", "The AccumulateGrad node's stream does not match")
    with warnings.catch_warnings(), torch.cuda.stream(torch.cuda.Stream() if on_gpu else None):
        # Deprecated since 2.14, but its successor is too young.
        warnings.filterwarnings("ignore", "`broadcast_buffers`", FutureWarning)
        wrapped = DistributedDataParallel(network, broadcast_buffers=False)
    if not on_gpu:
        wrapped.register_comm_hook(size, mean_in_order)
    return wrapped


def in_order(parts: list[Tensor]) -> Tensor:
    total = parts[0].clone()
    for part in parts[1:]:
        total += part
    return total


def mean_in_order(size: int, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    """A communication hook of DistributedDataParallel."""
    mine = bucket.buffer()
    parts = [torch.empty_like(mine) for _ in range(size)]
    work = dist.all_gather(parts, mine, async_op=True)
    assert work is not None
    return work.get_future().then(lambda _: in_order(parts).div_(size))


@contextmanager
def mean_statistics(model: nn.Module, team: Team) -> Iterator[Tensor | None]:
    """`model` with the mean over ranks of the moving averages of each BN; then each rank has its own again.

    The mean is the same on all ranks. Gives (ranks, values) with each rank's own, None of one process alone.
    """
    if team.size == 1:
        yield None
        return
    kept = _statistics(model)
    own = _flat(kept)
    rows = team.gather(own.double())
    try:
        _put(in_order(list(rows)) / team.size, kept)
        yield rows.to(own.dtype)
    finally:
        _put(own, kept)


def put_statistics(model: nn.Module, row: Tensor) -> None:
    """A row of what `mean_statistics` gave, of this rank."""
    _put(row, _statistics(model))


def _statistics(model: nn.Module) -> list[Tensor]:
    if not any(map(is_normalization, model.modules())):
        return []
    return [
        tensor
        for layer in normalization_layers(model).values()
        for tensor in (layer.running_mean, layer.running_var)
    ]


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([torch.empty(0), *(tensor.detach().cpu().flatten() for tensor in tensors)])


@torch.no_grad()
def _put(flat: Tensor, tensors: list[Tensor]) -> None:
    parts = flat.split([tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view(tensor.shape))


def check_gpus(config: Config, ranks: Ranks) -> None:
    """UserError if processes on this machine would share a GPU."""
    if ranks.size == 1 or config.device == "cpu" or not torch.cuda.is_available():
        return
    count = torch.cuda.device_count()
    if ranks.local_size > count:
        raise UserError(
            f"{ranks.local_size} processes on this machine, which has {count} GPU{'s' * (count > 1)}: "
            "accepted: one for each, or device=cpu"
        )


@contextmanager
def joined(
    config: Config, run: RunDirectory, ranks: Ranks, stop_signal: Callable[[], int | None]
) -> Iterator[Team]:
    """The team of this process and its peers, who meet here, and part on leaving.

    An exception on one rank ends the training on all, as one does that is killed or hangs: then the other
    processes end here, with exit code 1.
    """
    if ranks.size == 1:
        yield ALONE
        return
    backend = "gloo"
    if config.device != "cpu" and torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(ranks.local_rank)
        # After its timeout NCCL is to give up a collective, and not to kill the process, which has to say why
        # (the tests have gloo alone).
        os.environ["TORCH_NCCL_ASYNC_ERROR_HANDLING"] = "2"
    peers = Peers(ranks, config.rank_timeout_s, run)
    store = peers.meet(stop_signal)
    try:
        dist.init_process_group(
            backend, store=dist.PrefixStore("group", store), rank=ranks.rank, world_size=ranks.size,
            timeout=timedelta(seconds=config.rank_timeout_s),
        )  # fmt: skip
        peers.listen()
        yield Team(ranks.rank, ranks.size)
    except Interrupted:  # which all ranks raise, at the same step
        peers.part()
        raise
    except BaseException as error:
        peers.explain(error)
        raise
    peers.part()
