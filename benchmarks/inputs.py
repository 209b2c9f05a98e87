"""The way of a mini-batch from the workers' images to the network's input."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.inception_contenders import CLASSES, NHWC, Setting
from bn.data.images import Finish
from bn.data.photometric import DRAWS, distortion_factors, network_input

Pair = tuple[Tensor, Tensor]  # images and labels of a mini-batch


class Inputs:
    """The path from the workers' images to the network's input, as in `ImageTask.draw`."""

    def __init__(self, setting: Setting, *, compiled: bool = False) -> None:
        self.device = setting.device
        shape = setting.batch, 3, setting.size, setting.size
        pixels = torch.randint(256, shape, dtype=torch.uint8)
        labels = torch.randint(CLASSES, (setting.batch,))
        pin = setting.device.type == "cuda"
        self.pixels, self.labels = (t.pin_memory() if pin else t for t in (pixels, labels))
        self.u = np.random.default_rng(0).random((setting.batch, DRAWS))
        finish: Any = torch.compile(network_input) if compiled and pin else network_input
        self.finish: Finish = partial(finish, layout=NHWC)

    def upload(self) -> Pair:
        return (
            self.pixels.to(self.device, non_blocking=True),
            self.labels.to(self.device, non_blocking=True),
        )

    def __call__(self) -> Pair:
        pixels, labels = self.upload()
        return self.finish(pixels, *distortion_factors(self.u, "reduced", self.device)), labels


class Ahead:
    """Inputs made on a separate stream during the previous step."""

    def __init__(self, inputs: Callable[[], Pair]) -> None:
        self.inputs = inputs
        self.stream = torch.cuda.Stream()
        self.next = self.make()

    def make(self) -> Pair:
        with torch.cuda.stream(self.stream):
            return self.inputs()

    def __call__(self) -> Pair:
        current = torch.cuda.current_stream()
        current.wait_stream(self.stream)
        found = self.next
        for tensor in found:
            tensor.record_stream(current)
        self.next = self.make()
        return found
