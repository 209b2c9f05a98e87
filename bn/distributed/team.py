"""Data-parallel training by several processes.

A `Team` is the interface of the training loop and the tasks to the other processes. `ALONE`, the team of a
single process, does nothing and does not use torch.distributed. Values that control the run are communicated
over the CPU (gloo) and combined in float64 in rank order, so that all ranks have the same bits; only
gradients use NCCL where there are GPUs.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

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


class Team:
    """The `size` processes that train one network together."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size
        self._pending: tuple[dist.Work, Tensor] | None = None

    def agree(self, stop: int | None, save: bool) -> tuple[int | None, bool]:
        """Return all ranks' decision (stop, save) on the previous step's requests; send those of this step.

        The all-reduce overlaps with the step, so nothing waits for it. `stop`: the signal that this rank
        received, which ends the run after saving. `save`: whether a checkpoint is due, which rank 0 decides.
        """
        if self.size == 1:
            return stop, save
        stop_all, save_all = 0, 0
        if self._pending is not None:
            work, requests = self._pending
            work.wait()
            stop_all, save_all = requests.tolist()
        requests = torch.tensor([stop or 0, self.rank == 0 and save and not save_all], dtype=torch.int32)
        work = dist.all_reduce(requests, dist.ReduceOp.MAX, async_op=True)
        assert work is not None
        self._pending = work, requests
        return stop_all or None, bool(save_all)

    def gather(self, tensor: Tensor) -> Tensor:
        """Return (size, *shape): each rank's `tensor`, in order, on the CPU."""
        mine = tensor.detach().cpu().contiguous()
        if self.size == 1:
            return mine[None]
        rows = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(rows, mine)
        return torch.stack(rows)

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum over ranks, in order and in the dtype of `tensor`, on the CPU; one process returns `tensor`."""
        return tensor if self.size == 1 else sum_in_order(list(self.gather(tensor)))

    def broadcast(self, value: Callable[[], T]) -> T:
        """Call `value` on rank 0 only, and return the result on all ranks."""
        box = [value() if self.rank == 0 else None]
        if self.size > 1:
            dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]  # type: ignore[return-value]

    def data_parallel(self, network: nn.Module) -> nn.Module:
        """Wrap `network` so that backward averages gradients over ranks. BN statistics stay each rank's own.

        Over gloo, gradients are added in rank order. So the bits depend neither on DistributedDataParallel's
        buckets, which are rebuilt after its first iteration, nor on the order in a ring, and a resumed run
        has the same bits as an uninterrupted one.
        """
        if self.size == 1:
            return network
        return data_parallel(network, self.size)


ALONE = Team()


def data_parallel(network: nn.Module, size: int) -> nn.Module:
    """Wrap `network` in DistributedDataParallel; on a GPU its backward can be captured in a CUDA graph."""
    # Gradients of 1x1 kernels in channels last are copied into the buckets.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    on_gpu = next(network.parameters()).is_cuda
    # Gradients are accumulated on the stream that is current here. The default stream cannot be captured.
    # Backward runs on another stream, with which torch synchronizes this one.
    warnings.filterwarnings("ignore", "The AccumulateGrad node's stream does not match")
    with warnings.catch_warnings(), torch.cuda.stream(torch.cuda.Stream() if on_gpu else None):
        # Deprecated in torch 2.14; older versions lack the replacement.
        warnings.filterwarnings("ignore", "`broadcast_buffers`", FutureWarning)
        wrapped = DistributedDataParallel(network, broadcast_buffers=False)
    if not on_gpu:
        wrapped.register_comm_hook(size, mean_in_order)
    return wrapped


def sum_in_order(parts: list[Tensor]) -> Tensor:
    total = parts[0].clone()
    for part in parts[1:]:
        total += part
    return total


def mean_in_order(size: int, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    """Communication hook of DistributedDataParallel: the mean of a bucket, added in rank order."""
    mine = bucket.buffer()
    parts = [torch.empty_like(mine) for _ in range(size)]
    work = dist.all_gather(parts, mine, async_op=True)
    assert work is not None
    return work.get_future().then(lambda _: sum_in_order(parts).div_(size))


@contextmanager
def mean_statistics(model: nn.Module, team: Team) -> Iterator[Tensor | None]:
    """Within the block, the moving averages of each BN in `model` are their means over ranks.

    The means are the same on all ranks. Yields each rank's own values, (ranks, values); None for one process.
    """
    if team.size == 1:
        yield None
        return
    buffers = _statistics(model)
    own = torch.cat([torch.empty(0), *(tensor.detach().cpu().flatten() for tensor in buffers)])
    rows = team.gather(own.double())
    try:
        _copy(sum_in_order(list(rows)) / team.size, buffers)
        yield rows.to(own.dtype)
    finally:
        _copy(own, buffers)


def load_statistics(model: nn.Module, row: Tensor) -> None:
    """Restore this rank's moving averages: its row of what `mean_statistics` yielded."""
    _copy(row, _statistics(model))


def _statistics(model: nn.Module) -> list[Tensor]:
    if not any(map(is_normalization, model.modules())):
        return []
    return [
        tensor
        for layer in normalization_layers(model).values()
        for tensor in (layer.running_mean, layer.running_var)
    ]


@torch.no_grad()
def _copy(flat: Tensor, tensors: list[Tensor]) -> None:
    parts = flat.split([tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view(tensor.shape))


def check_gpus(config: Config, ranks: Ranks) -> None:
    """Raise UserError if processes on this machine would share a GPU."""
    if ranks.size == 1 or config.device == "cpu" or not torch.cuda.is_available():
        return
    count = torch.cuda.device_count()
    if ranks.local_size > count:
        raise UserError(
            f"{ranks.local_size} processes on this machine, which has {count} GPU{'s' * (count > 1)}: "
            "accepted: one for each, or device=cpu"
        )


@contextmanager
def join_team(
    config: Config, run: RunDirectory, ranks: Ranks, stop_signal: Callable[[], int | None]
) -> Iterator[Team]:
    """Connect this process with the other ranks and yield the team; disconnect at the end of the block.

    If one rank raises, is killed or hangs, training ends on all ranks: the others exit here with code 1.
    """
    if ranks.size == 1:
        yield ALONE
        return
    backend = "gloo"
    if config.device != "cpu" and torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(ranks.local_rank)
        # On a timeout, NCCL should abort the collective without killing the process, which has to report the
        # reason (not covered by the tests, which use gloo).
        os.environ["TORCH_NCCL_ASYNC_ERROR_HANDLING"] = "2"
    peers = Peers(ranks, config.rank_timeout_s, run)
    store = peers.rendezvous(stop_signal)
    try:
        dist.init_process_group(
            backend, store=dist.PrefixStore("group", store), rank=ranks.rank, world_size=ranks.size,
            timeout=timedelta(seconds=config.rank_timeout_s),
        )  # fmt: skip
        peers.listen()
        yield Team(ranks.rank, ranks.size)
    except Interrupted:  # raised by all ranks at the same step
        peers.leave()
        raise
    except BaseException as error:
        peers.report(error)
        raise
    peers.leave()
