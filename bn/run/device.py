"""The device that a run uses."""

import torch

from bn.errors import UserError
from bn.run.environment import processor


def select_device(wanted: str) -> torch.device:
    """Resolve `wanted`; `auto` is the GPU if there is one. Raises UserError if cuda is not available."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("device=cuda: no CUDA device is available; accepted: auto, cpu")
    use_cuda = wanted == "cuda" or (wanted == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if use_cuda else "cpu")


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
