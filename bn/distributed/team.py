"""Several processes that train one network together: how they meet, agree, and add up what each has.

A `Team` is what the training loop and its tasks know of them. The one of a single process, `ALONE`, does
nothing at no cost: a training by one process has nothing to do with torch.distributed. Values that rule the
run go over the CPU (gloo) and are combined in float64 in the order of the ranks, so that all have the same
bits; only gradients go over NCCL where there are GPUs.
"""

import atexit
import contextlib
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.elastic.multiprocessing.errors import get_error_handler
from torch.nn.parallel import DistributedDataParallel

from bn.config import Config
from bn.distributed.ranks import Ranks
from bn.errors import Interrupted, RankLost, UserError, is_out_of_memory, reason_of
from bn.norm.layers import is_normalization, normalization_layers
from bn.run.signals import stop_signal

T = TypeVar("T")
FAILED, OUT_OF_MEMORY = "failed", "out of memory"  # keys of the store that ranks share
SETTLE_S = 5.0  # between the first and the last of the ranks that lose another one
GLOO = ("gloo", "Application timeout caused pair closure")  # in its errors, which are of type RuntimeError


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
def joined(config: Config, ranks: Ranks) -> Iterator[Team]:
    """The team of this process and the others that torchrun started, who meet here, and part on leaving.

    torchrun ends all when one ends with an error. Before, RankLost where one is gone, or has not come or
    answered within `rank_timeout_s`; UserError where one has failed. Either says which rank it is.
    """
    if ranks.size == 1:
        yield ALONE
        return
    store = None
    try:
        store = _meet(config, ranks)
        yield Team(ranks.rank, ranks.size)
    except Interrupted:  # which all ranks raise, at the same step
        dist.destroy_process_group()
        raise
    except Exception as error:
        atexit.register(_exit)
        if store is not None and (isinstance(error, dist.DistError) or any(w in str(error) for w in GLOO)):
            raise _lost(store, ranks, config.rank_timeout_s) from error
        if store is not None:
            with contextlib.suppress(RuntimeError):  # it is gone
                out = is_out_of_memory(error)
                store.set(OUT_OF_MEMORY if out else FAILED, f"rank {ranks.rank}: {reason_of(error)}")
        get_error_handler().record_exception(error)  # for torchrun's report
        raise
    dist.destroy_process_group()


def _meet(config: Config, ranks: Ranks) -> dist.Store:
    """Wait until all are there; the store that they share, which outlives them. RankLost where one is not.

    In a thread: torch hears no signal while it waits, and waits without end for a store that says nothing.
    """
    backend = "gloo"
    if config.device != "cpu" and torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(ranks.local_rank)
    timeout = timedelta(seconds=config.rank_timeout_s)
    met: list[dist.Store] = []
    why = [f"not all ranks came within {config.rank_timeout_s:g} s (rank_timeout_s)"]

    def meet() -> None:
        try:
            store, _, _ = next(dist.rendezvous("env://", timeout=timeout))
            dist.init_process_group(
                backend, store=store, rank=ranks.rank, world_size=ranks.size, timeout=timeout
            )
            met.append(store)
        except Exception as error:  # torch's are of several types
            why.append(" ".join(str(error).split("\n")[0].split()))

    meeting = threading.Thread(target=meet, daemon=True)
    meeting.start()
    end = time.monotonic() + config.rank_timeout_s
    while meeting.is_alive() and time.monotonic() < end:
        meeting.join(0.1)
        if meeting.is_alive() and stop_signal() is not None:
            why.append("told to stop before all ranks had come")
            break
    if met:
        return met[0]
    raise RankLost(
        f"MASTER_ADDR:MASTER_PORT={os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}: {why[-1]}"
    )


def _lost(store: dist.Store, ranks: Ranks, timeout_s: float) -> UserError:
    """What became of the ranks that this one has lost; where another one says it this process ends here.

    The others lose them too and say so in the store; those that do not are gone, or stand still.
    """
    lost = "the others"
    with contextlib.suppress(RuntimeError):  # the store is gone too, with its node
        for key, kind in ((FAILED, UserError), (OUT_OF_MEMORY, RankLost)):
            if store.check([key]):
                if ranks.rank:
                    _exit()
                return kind(store.get(key).decode())
        store.set(f"lost/{ranks.rank}", "")
        time.sleep(SETTLE_S)
        here = [rank for rank in range(ranks.size) if store.check([f"lost/{rank}"])]
        if here[0] != ranks.rank:
            _exit()
        if gone := [str(rank) for rank in range(ranks.size) if rank not in here]:
            lost = f"rank {', '.join(gone)}"
    return RankLost(f"{lost} is gone, or has not answered for {timeout_s:g} s (rank_timeout_s)")


def _exit() -> NoReturn:
    """Python would wait for collectives that never end."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(1)
