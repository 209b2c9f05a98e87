"""Replay a training step as a CUDA graph."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from bn.errors import CaptureFailed, is_out_of_memory, reason_of
from bn.tasks.steps import AutogradStep, Step

# DistributedDataParallel rebuilds its buckets in the second step and measures times, which synchronizes with
# the device, in the first ten. Neither may happen in the captured step.
WARMUP_STEPS = 11


@contextmanager
def state_restored(step: Step, model: nn.Module) -> Iterator[None]:
    """Restore, in place, what warm-up steps on a GPU change: model, step and torch's random state."""
    tensors = [*model.parameters(), *model.buffers(), *step.state_tensors()]
    saved = [tensor.detach().clone() for tensor in tensors]
    random_state = torch.cuda.get_rng_state()
    try:
        yield
    finally:
        torch.cuda.synchronize()  # a failed step may have left work on another stream
        with torch.no_grad():
            for tensor, value in zip(tensors, saved, strict=True):
                tensor.copy_(value)
        torch.cuda.set_rng_state(random_state)


class CudaGraphStep:
    """Replays a step as a CUDA graph: the host launches all its kernels at once.

    Capture requires a few real steps first. Everything they change is restored, on failure too, so training
    starts from the same state. Raises CaptureFailed if the step runs but cannot be captured. The step's state
    must be loaded before the capture. `images` and `labels` are a mini-batch; later ones must have the same
    shapes and dtypes.
    """

    def __init__(self, step: Step, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        if isinstance(step, AutogradStep) and not isinstance(step.optimizer.param_groups[0]["lr"], Tensor):
            raise CaptureFailed("the optimizer reads its learning rate on the host")
        self.step = step
        self.images, self.labels = images.clone(), labels.clone()
        with state_restored(step, model):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARMUP_STEPS):
                    step(self.images, self.labels)
            torch.cuda.current_stream().wait_stream(stream)
            self.graph = torch.cuda.CUDAGraph()
            try:
                with (
                    # Restores the current stream, which a failed capture does not.
                    torch.cuda.stream(torch.cuda.current_stream()),
                    # Other threads may allocate meanwhile, such as the one that pins mini-batches.
                    torch.cuda.graph(self.graph, capture_error_mode="thread_local"),
                ):
                    self.loss = step(self.images, self.labels)
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise
                raise CaptureFailed(reason_of(error)) from error

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        self.images.copy_(images)
        self.labels.copy_(labels)
        self.graph.replay()
        return self.loss

    def set_lr(self, lr: float) -> None:
        self.step.set_lr(lr)

    def state_tensors(self) -> list[Tensor]:
        return self.step.state_tensors()

    def state_dict(self) -> dict[str, Any]:
        return self.step.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        raise RuntimeError("load the state of the step before capturing it")


def try_capture(step: Step, model: nn.Module, images: Tensor, labels: Tensor) -> Step:
    """Return `step` as a CUDA graph, or, with a warning, `step` itself if it cannot be captured."""
    try:
        return CudaGraphStep(step, model, images, labels)
    except CaptureFailed as failure:
        tqdm.write(f"no CUDA graph, kernels are launched one by one: {failure}", file=sys.stderr)
        return step
