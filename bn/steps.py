"""One training step: forward, backward, update.

A step takes the tensors of its mini-batch and returns the loss, a scalar on the device, not waited for.
`AutogradStep` is the readable one, for any network; `bn.fused_step.FusedStep` the fast one for the MLP.
Either can be replayed as a CUDA graph (`CudaGraphStep`).
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bn.norm.layers import is_normalization


class Step(Protocol):
    def __call__(self, *inputs: Tensor) -> Tensor: ...

    def set_rate(self, rate: float) -> None:
        """The learning rate of the next step."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What the next step depends on besides the model: the optimizer's state."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """The context of a forward pass in `precision` (float32, bf16, fp16); parameters stay float32."""
    if precision == "float32":
        return nullcontext()
    # Weights change each step, so that a cached cast would only take memory; a CUDA graph must not see one.
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    return torch.autocast(device.type, dtype, cache_enabled=False)


class AutogradStep:
    """Cross-entropy of (images, labels), backward and optimizer, as everybody writes them."""

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, precision: str = "float32"
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.precision = precision

    def __call__(self, *inputs: Tensor) -> Tensor:
        loss = self._loss(*inputs)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        with autocast(images.device, self.precision):
            logits = self.model(images)
        if self.precision != "float32":
            logits = logits.float()
        return F.cross_entropy(logits, labels)

    def set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)  # in place: a captured step reads it there
            else:
                group["lr"] = rate

    def state_dict(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        rates = [group["lr"] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state)
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            if isinstance(rate, Tensor):  # the checkpoint's came to the CPU
                group["lr"] = rate.fill_(float(group["lr"]))


class ScaledStep(AutogradStep):
    """A step in fp16: the loss is scaled so that small gradients do not vanish.

    Where the gradients overflow nevertheless, the step is skipped, and the statistics of its mini-batch do
    not enter the moving averages either: an infinity in them would stay for good.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, scale: float = 2.0**16) -> None:
        super().__init__(model, optimizer, "fp16")
        self.scaler = torch.amp.GradScaler(next(model.parameters()).device.type, init_scale=scale)
        norms = [module for module in model.modules() if is_normalization(module)]
        self.statistics = [buffer for module in norms for buffer in module.buffers()]

    def __call__(self, *inputs: Tensor) -> Tensor:
        before = [tensor.clone() for tensor in self.statistics]
        loss = self._loss(*inputs)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        gradients = [p.grad for g in self.optimizer.param_groups for p in g["params"] if p.grad is not None]
        finite = torch.stack(torch._foreach_norm(gradients)).isfinite().all()
        for tensor, old in zip(self.statistics, before, strict=True):
            tensor.copy_(torch.where(finite, tensor, old))
        self.scaler.step(self.optimizer)  # skips where a gradient is not finite
        self.scaler.update()
        return loss.detach()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict({key: value for key, value in state.items() if key != "scaler"})
        self.scaler.load_state_dict(state["scaler"])


class CudaGraphStep:
    """Replays a step as a CUDA graph: one launch from the host for all its kernels.

    Capturing needs a few real steps first; what they changed of the model and of the optimizer's momentum is
    put back, so that training starts from where it was. Load the step's state before, not after. `inputs` are
    those of a step: their shapes and types stay for good.
    """

    def __init__(self, step: Step, model: nn.Module, *inputs: Tensor) -> None:
        def tensors() -> list[Tensor]:
            state = step.state_dict().get("state", {})  # of torch's optimizers, by parameter
            momenta = [tensor for entry in state.values() for tensor in entry.values()]
            return [*model.parameters(), *model.buffers(), *(m for m in momenta if m is not None)]

        self.step = step
        saved = [tensor.clone() for tensor in tensors()]
        random_state = torch.cuda.get_rng_state()
        self.inputs = [tensor.clone() for tensor in inputs]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                step(*self.inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.loss = step(*self.inputs)
        with torch.no_grad():
            for i, tensor in enumerate(tensors()):
                # A momentum buffer that the first step made starts at 0, which is what no buffer means.
                tensor.copy_(saved[i]) if i < len(saved) else tensor.zero_()
        torch.cuda.set_rng_state(random_state)

    def __call__(self, *inputs: Tensor) -> Tensor:
        for mine, given in zip(self.inputs, inputs, strict=True):
            mine.copy_(given)
        self.graph.replay()
        return self.loss

    def set_rate(self, rate: float) -> None:
        self.step.set_rate(rate)

    def state_dict(self) -> dict[str, Any]:
        return self.step.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        raise RuntimeError("the graph is captured: load the step's state before")
