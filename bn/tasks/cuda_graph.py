"""A training step replayed as a CUDA graph."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from bn.errors import CaptureFailed, is_out_of_memory, reason_of
from bn.tasks.steps import AutogradStep, Step

# DistributedDataParallel forms its buckets anew in the second step and takes times in the first ten, which
# wait for the device: none of that may fall into the captured step.
TRIALS = 11


@contextmanager
def state_kept(step: Step, model: nn.Module) -> Iterator[None]:
    """For steps on trial, on a GPU: all that they change is put back in place, torch's random state too."""
    changed = [*model.parameters(), *model.buffers(), *step.tensors()]
    saved = [tensor.detach().clone() for tensor in changed]
    random_state = torch.cuda.get_rng_state()
    try:
        yield
    finally:
        torch.cuda.synchronize()  # a trial that failed may have left work on a stream of its own
        with torch.no_grad():
            for tensor, value in zip(changed, saved, strict=True):
                tensor.copy_(value)
        torch.cuda.set_rng_state(random_state)


class CudaGraphStep:
    """Replays a step as a CUDA graph: one launch from the host for all its kernels.

    Capturing needs a few real steps first; all that they changed is put back, so that training starts from
    where it was, also where it fails: CaptureFailed if the step itself can be taken. Load the step's state
    before, not after. `images` and `labels` are a mini-batch: their shapes and types stay for good.
    """

    def __init__(self, step: Step, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        if isinstance(step, AutogradStep) and not isinstance(step.optimizer.param_groups[0]["lr"], Tensor):
            raise CaptureFailed("the optimizer reads its rate on the host")
        self.step = step
        self.images, self.labels = images.clone(), labels.clone()
        with state_kept(step, model):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(TRIALS):
                    step(self.images, self.labels)
            torch.cuda.current_stream().wait_stream(stream)
            self.graph = torch.cuda.CUDAGraph()
            try:
                with (
                    # If it fails, the next line leaves its own stream the current one.
                    torch.cuda.stream(torch.cuda.current_stream()),
                    # Other threads may allocate meanwhile, such as the one that pins what the workers decode.
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

    def set_rate(self, rate: float) -> None:
        self.step.set_rate(rate)

    def tensors(self) -> list[Tensor]:
        return self.step.tensors()

    def state_dict(self) -> dict[str, Any]:
        return self.step.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        raise RuntimeError("the graph is captured: load the step's state before")


def captured(step: Step, model: nn.Module, images: Tensor, labels: Tensor) -> Step:
    """The step as a CUDA graph, or with one line as it is, where it cannot be captured."""
    try:
        return CudaGraphStep(step, model, images, labels)
    except CaptureFailed as failure:
        tqdm.write(f"no CUDA graph, steps are launched one by one: {failure}", file=sys.stderr)
        return step
