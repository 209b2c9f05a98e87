"""The task of section 4.2: an Inception network on photographs."""

import sys
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from bn.config import Config, ImageData, InceptionModel
from bn.data.images import Finish, Plan, open_loader
from bn.data.photometric import DRAWS, distortion_factors, network_input
from bn.data.seeds import generator
from bn.distributed.team import Team
from bn.errors import UserError, is_out_of_memory, reason_of
from bn.evaluate.accuracy import evaluate_population, image_metrics
from bn.models.build import build_model
from bn.models.inception import Unit
from bn.models.precision import InPrecision, precision_on
from bn.observe.observation import Observer, Subject, build_observer
from bn.tasks.compiling import missing_requirement, should_compile
from bn.tasks.cuda_graph import CudaGraphStep, try_capture
from bn.tasks.optim import build_optimizer, lr_schedule
from bn.tasks.steps import AutogradStep, Step
from bn.tasks.task import Task


class ImageTask(Task):
    def __init__(self, config: Config, device: torch.device, first: int, team: Team) -> None:
        assert isinstance(config.data, ImageData)
        assert isinstance(config.model, InceptionModel)
        self.config = config
        self.team = team
        self.precision = precision_on(device, config.precision)
        self.compiled = should_compile(device, config.compile)
        self.format = torch.channels_last if config.channels_last else torch.contiguous_format
        plan = Plan(
            steps=config.length + config.evaluate.population_batches, batch=config.optim.batch,
            seed=config.seed, first=first, rank=team.rank, ranks=team.size,
        )  # fmt: skip
        self.images = open_loader(config.data, plan, device)
        self.model = build_model(config).to(device, memory_format=self.format)  # type: ignore[call-overload]
        self.lr = lr_schedule(config.optim)
        self.step: Step = self._build_step()
        self.observer = self._build_observer()

    def draw(self, n: int) -> tuple[Tensor, Tensor]:
        return self.images.batch(n - 1, self.finish)

    def evaluate(self) -> dict[str, float]:
        network = InPrecision(self.model, self.precision)
        accuracies = image_metrics(network, self.images.validation(), self.team.sum)
        return {f"validation/{name}": value for name, value in accuracies.items()}

    def evaluate_population(self) -> dict[str, float]:
        steps = range(self.config.length, self.config.length + self.config.evaluate.population_batches)
        batches = (self.images.batch(n).images for n in steps)  # those that would follow
        network = InPrecision(self.model, self.precision)
        return evaluate_population(network, batches, self.evaluate, self.team.sum)

    @torch.no_grad()
    def step_metrics(self, n: int) -> dict[str, float]:
        """Return the learning rate, the norm of all gradients and the largest absolute parameter."""
        parameters: list[Tensor] = list(self.model.parameters())
        largest = torch.stack(torch._foreach_norm(parameters, torch.inf)).max()
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        norm, largest = torch.stack((norm, largest)).tolist()
        return {"train/rate": self.lr(n), "train/gradient_norm": norm, "train/largest_parameter": largest}

    def capture(self) -> None:
        """Capture the step as a CUDA graph if possible. If torch.compile fails, warn and do not compile.

        Raises UserError if compile=always.
        """
        try:
            self.step = try_capture(self.step, self.model, *self._example())
            return
        except Exception as error:
            if not self.compiled or is_out_of_memory(error):
                raise
            if self.config.compile == "always":
                raise UserError(f"compile=always: {reason_of(error)}; accepted: auto, never") from error
            tqdm.write(f"not compiled: {reason_of(error)}", file=sys.stderr)
        self.compiled = False
        state = self.step.state_dict()
        self.step = self._build_step()
        self.step.load_state_dict(state)
        self.capture()

    def _example(self) -> tuple[Tensor, Tensor]:
        """Return a mini-batch of random pixels, with the shapes and dtypes of those that are drawn."""
        data, device = self.config.data, next(self.model.parameters()).device
        assert isinstance(data, ImageData)
        draws = generator(0, "capture")
        share = self.config.optim.batch // self.team.size
        pixels = torch.randint(256, (share, 3, data.crop, data.crop), generator=draws)
        labels = torch.randint(data.classes, (share,), generator=draws)
        colors = distortion_factors(np.zeros((share, DRAWS)), data.distortion, device)
        return self.finish(pixels.to(device, torch.uint8), *colors), labels.to(device)

    def describe(self) -> str:
        o = self.config.optim
        parts = [
            self.precision,
            *["channels last"] * self.config.channels_last,
            *["compiled"] * self.compiled,
        ]
        on_gpu = next(self.model.parameters()).is_cuda
        if self.config.compile == "auto" and on_gpu and not self.compiled:
            missing = missing_requirement(torch.device("cuda"))
            parts += [f"not compiled: missing {missing}"] * (missing is not None)
        parts += ["CUDA graph"] * isinstance(self.step, CudaGraphStep)
        if self.team.size > 1:
            share = o.batch // self.team.size
            parts.append(f"{self.team.size} processes with {share} examples each")
        return ", ".join(parts)

    def describe_data(self) -> str:
        data, images = self.config.data, self.images
        assert isinstance(data, ImageData)
        held_out = "held-out" if data.validation else "validation"
        counts = f"{images.training_count:,} training and {len(images.dataset):,} {held_out} images"
        return f"{data.name}: {counts}, {data.classes:,} classes, crops of {data.crop}"

    def close(self) -> None:
        self.images.close()

    def _build_step(self) -> Step:
        optimizer = build_optimizer(self.model, self.config.optim)
        # Only the training step is compiled: evaluation, Algorithm 2 and observations use hooks.
        forward: Any = torch.compile(self.model) if self.compiled else self.model
        finish: Any = torch.compile(network_input) if self.compiled else network_input
        self.finish: Finish = partial(finish, layout=self.format)
        return AutogradStep(InPrecision(self.team.data_parallel(forward), self.precision), optimizer)

    def _build_observer(self) -> Observer:
        """Observe the chosen layers on the same examples for all seeds and networks, on rank 0 only."""
        if self.team.rank:
            return Observer({})
        units = {name: unit for name, unit in self.model.named_modules() if isinstance(unit, Unit)}
        layers = {name: units[name] for name in self.config.probe.layers}
        examples = self.images.training_examples(self.config.probe.examples) if layers else ()
        network = InPrecision(self.model, self.precision)
        return build_observer(Subject(self.config, self.model, network, layers, list(examples)))
