"""Trained networks for other programs: folded, as ONNX and as torch.export writes them."""

import importlib.util
import io
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bn.config import ImageData
from bn.data.photometric import normalize
from bn.data.seeds import generator
from bn.errors import UserError
from bn.evaluate.networks import check_population, take_population_statistics
from bn.evaluate.trained import Trained
from bn.files import write_whole
from bn.norm import fold

FORMATS = {"onnx": "onnx", "torch": "pt2"}  # and the ending of a file's name
BATCHES = (1, 2, 5)  # of the random inputs that a file is checked on
TOLERANCE = 1e-4  # of the largest logit: float32 rounds differently where BN is folded
PUBLIC_CROP = 224  # of public weights, which do not say
NEEDED = ("onnx", "onnxscript", "onnxruntime")


def export(
    network: Trained, statistics: str, formats: Sequence[str], folder: Path
) -> list[tuple[Path, float]]:
    """Write the network into `folder`, once in each format; BN has "moving" or "population" statistics.

    Before a file is written it is read back, and computes the logits of random inputs. With its path comes
    how much these differ from those of the network as it was, as a share of the largest. UserError if that is
    more than rounding, or if a package, or the data that Algorithm 2 needs, is not there.
    """
    missing = [name for name in NEEDED if "onnx" in formats and importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f'format=onnx: {missing[0]} is not installed: pip install -e ".[onnx]"; accepted without: torch'
        )
    name = network.name
    if statistics == "population":
        check_population(network)
        assert network.config is not None
        take_population_statistics(network, network.config.data, torch.device("cpu"), "float32")
        name += "_population"
    folded = fold(network.model) if network.normalized else network.model
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(folded, (_random_inputs(network, 2),), dynamic_shapes=({0: batch},))
    written = []
    for format in formats:
        content, run = _as_onnx(program) if format == "onnx" else _as_torch(program)
        path = folder / f"{name}.{FORMATS[format]}"
        difference = max(_difference(network, run, batch) for batch in BATCHES)
        if difference > TOLERANCE:
            raise UserError(
                f"{path}: not written: on random inputs its logits differ from the network's by "
                f"{difference:.1e} of the largest"
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
        written.append((path, difference))
    return written


def _as_torch(program: torch.export.ExportedProgram) -> tuple[bytes, Callable[[Tensor], Tensor]]:
    """The file's content, and what it computes once it is read back."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue(), torch.export.load(io.BytesIO(buffer.getvalue())).module()


def _as_onnx(program: torch.export.ExportedProgram) -> tuple[bytes, Callable[[Tensor], Tensor]]:
    import onnxruntime

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    exported: Any = torch.onnx.export(
        program, dynamo=True, verbose=False, input_names=["images"], output_names=["logits"],
        dynamic_shapes=({0: "batch"},),  # which names the axis
    )  # fmt: skip
    content = exported.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content, lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


@torch.no_grad()
def _difference(network: Trained, run: Callable[[Tensor], Tensor], batch: int) -> float:
    """Of the logits of random inputs, as a share of the network's largest; inf where one is NaN."""
    images = _random_inputs(network, batch)
    expected, found = network.model(images), run(images)
    assert found.shape == expected.shape
    share = ((found - expected).abs().max() / expected.abs().max()).item()
    return share if share == share else float("inf")


def _random_inputs(network: Trained, batch: int) -> Tensor:
    """(batch, 3, crop, crop) or (batch, 784) float32: random pixels, as the network sees those of images."""
    data = network.config.data if network.config else None
    crop = data.crop if isinstance(data, ImageData) else PUBLIC_CROP
    shape = (3, crop, crop) if data is None or isinstance(data, ImageData) else (784,)
    uniform = torch.rand(batch, *shape, generator=generator(0, "export", batch))
    return normalize(uniform * 255) if len(shape) == 3 else uniform.round()
