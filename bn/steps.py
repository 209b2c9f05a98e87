"""One training step: forward, backward, update.

A step takes the tensors of its mini-batch and returns the loss, a scalar on the device, not waited for.
`AutogradStep` is the readable one, for any network; `bn.fused_step.FusedStep` the fast one for the MLP.
Either can be replayed as a CUDA graph (`CudaGraphStep`).
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from bn.errors import CaptureFailed, reason_of
from bn.norm.layers import is_normalization
from bn.norm.module import BatchNorm, counted_together


class Step(Protocol):
    def __call__(self, *inputs: Tensor) -> Tensor: ...

    def set_rate(self, rate: float) -> None:
        """The learning rate of the next step."""
        ...

    def tensors(self) -> list[Tensor]:
        """What it changes in place besides the model: momentum."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What the next step depends on besides the model: the optimizer's state."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class AutogradStep:
    """Cross-entropy of (images, labels), backward and optimizer, as everybody writes them."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.model = model
        self.optimizer = optimizer
        self.norms = [module for module in model.modules() if isinstance(module, BatchNorm)]

    def __call__(self, *inputs: Tensor) -> Tensor:
        images, labels = inputs
        with counted_together(self.norms):
            loss = F.cross_entropy(self.model(images), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def set_rate(self, rate: float) -> None:
        written = None
        for group in self.optimizer.param_groups:
            if not isinstance(group["lr"], Tensor):
                group["lr"] = rate
            elif group["lr"] is not written:  # the groups share it
                written = group["lr"].fill_(rate)  # in place: a captured step reads it there

    def tensors(self) -> list[Tensor]:
        return [tensor for entry in self.optimizer.state.values() for tensor in entry.values()]

    def state_dict(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        # How it is computed, and where the rate is, is this device's choice and not the checkpoint's.
        keys = ("lr", "fused", "foreach")
        own = [{key: group[key] for key in keys} for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state)
        for group, choices in zip(self.optimizer.param_groups, own, strict=True):
            rate, lr = float(group["lr"]), choices["lr"]
            group.update({**choices, "lr": lr.fill_(rate) if isinstance(lr, Tensor) else rate})


class ScaledStep(AutogradStep):
    """A step in fp16: the loss is scaled so that small gradients do not vanish.

    Where the gradients overflow nevertheless, the step is skipped, and the statistics of its mini-batch do
    not enter the moving averages either: an infinity in them would stay for good. `skipped` counts.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, scale: float = 2.0**16) -> None:
        super().__init__(model, optimizer)
        device = next(model.parameters()).device
        self.scaler = torch.amp.GradScaler(device.type, init_scale=scale)
        self.skipped = torch.zeros((), dtype=torch.int64, device=device)
        buffers = [b for module in model.modules() if is_normalization(module) for b in module.buffers()]
        # By type: each list is handled as one vector, on a GPU a few kernels in place of hundreds.
        self.statistics = [
            [b for b in buffers if b.is_floating_point() is floating] for floating in (True, False) if buffers
        ]

    def __call__(self, *inputs: Tensor) -> Tensor:
        images, labels = inputs
        before = [flat(tensors) for tensors in self.statistics]
        with counted_together(self.norms):
            loss = F.cross_entropy(self.model(images), labels)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        gradients = [p.grad for g in self.optimizer.param_groups for p in g["params"] if p.grad is not None]
        finite = torch.stack(torch._foreach_norm(gradients)).isfinite().all()
        for tensors, old in zip(self.statistics, before, strict=True):
            kept = torch.where(finite, flat(tensors), old).split([tensor.numel() for tensor in tensors])
            torch._foreach_copy_(tensors, [part.view_as(t) for part, t in zip(kept, tensors, strict=True)])
        self.skipped += ~finite
        self.scaler.step(self.optimizer)  # skips where a gradient is not finite
        self.scaler.update()
        return loss.detach()

    def tensors(self) -> list[Tensor]:
        return [*super().tensors(), self.skipped]

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "scaler": self.scaler.state_dict(), "skipped": self.skipped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        optimizer = {key: value for key, value in state.items() if key not in ("scaler", "skipped")}
        super().load_state_dict(optimizer)
        self.scaler.load_state_dict(state["scaler"])
        self.skipped.copy_(state["skipped"])


def flat(tensors: list[Tensor]) -> Tensor:
    """One vector of copies."""
    return torch.cat([tensor.flatten() for tensor in tensors])


@contextmanager
def state_kept(step: Step, model: nn.Module) -> Iterator[None]:
    """For steps on trial, on a GPU: all that they change is put back in place, torch's random state too."""
    changed = [*model.parameters(), *model.buffers(), *step.tensors()]
    saved = [tensor.detach().clone() for tensor in changed]
    scaler = step.scaler if isinstance(step, ScaledStep) else None
    scale = scaler.state_dict() if scaler else {}
    random_state = torch.cuda.get_rng_state()
    try:
        yield
    finally:
        torch.cuda.synchronize()  # a trial that failed may have left work on a stream of its own
        with torch.no_grad():
            for tensor, value in zip(changed, saved, strict=True):
                tensor.copy_(value)
        if scaler:
            scaler.load_state_dict(scale)
        torch.cuda.set_rng_state(random_state)


class CudaGraphStep:
    """Replays a step as a CUDA graph: one launch from the host for all its kernels.

    Capturing needs a few real steps first; all that they changed is put back, so that training starts from
    where it was, also where it fails: CaptureFailed if the step itself can be taken. Load the step's state
    before, not after. `inputs` are those of a step: their shapes and types stay for good.
    """

    def __init__(self, step: Step, model: nn.Module, *inputs: Tensor) -> None:
        self.step = step
        self.inputs = [tensor.clone() for tensor in inputs]
        with state_kept(step, model):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(3):
                    step(*self.inputs)
            torch.cuda.current_stream().wait_stream(stream)
            self.graph = torch.cuda.CUDAGraph()
            try:
                with (
                    # If it fails, the next line leaves its own stream the current one.
                    torch.cuda.stream(torch.cuda.current_stream()),
                    # Other threads may allocate meanwhile, such as the one that pins what the workers decode.
                    torch.cuda.graph(self.graph, capture_error_mode="thread_local"),
                ):
                    self.loss = step(*self.inputs)
            except torch.cuda.OutOfMemoryError:
                raise
            except RuntimeError as error:
                raise CaptureFailed(reason_of(error)) from error

    def __call__(self, *inputs: Tensor) -> Tensor:
        for mine, given in zip(self.inputs, inputs, strict=True):
            mine.copy_(given)
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


def captured(step: Step, model: nn.Module, *inputs: Tensor) -> Step:
    """The step as a CUDA graph, or with one line as it is, where it cannot be captured."""
    try:
        return CudaGraphStep(step, model, *inputs)
    except CaptureFailed as failure:
        tqdm.write(f"no CUDA graph, steps are launched one by one: {failure}", file=sys.stderr)
        return step
