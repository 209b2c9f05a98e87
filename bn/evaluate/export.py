"""Export of trained networks, with BN folded, as ONNX or as torch.export programs."""

import importlib.util
import io
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bn.config import ImageData
from bn.data.photometric import normalize
from bn.data.seeds import generator
from bn.errors import UserError
from bn.evaluate.networks import check_population, set_population_statistics
from bn.evaluate.trained import Trained
from bn.files import write_atomically
from bn.norm import fold

FORMATS = {"onnx": "onnx", "torch": "pt2"}  # and their file name extensions
BATCHES = (1, 2, 5)  # sizes of the random mini-batches that a file is checked on
TOLERANCE = 1e-4  # relative to the largest logit; folding BN changes the rounding
PUBLIC_CROP = 224  # of public weights, which do not record it
NEEDED = ("onnx", "onnxscript", "onnxruntime")


def export(
    network: Trained, statistics: str, formats: Sequence[str], folder: Path
) -> list[tuple[Path, float]]:
    """Write the network into `folder` in each format, with "moving" or "population" statistics of BN.

    Before a file is written, it is loaded and compared with the original network on random inputs. Returns
    the path of each file and the largest difference of a logit, relative to the largest logit. UserError if
    this exceeds rounding errors, or if a package or the data that Algorithm 2 needs are missing.
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
        set_population_statistics(network, network.config.data, torch.device("cpu"), "float32")
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
        write_atomically(path, content)
        written.append((path, difference))
    return written


def _as_torch(program: torch.export.ExportedProgram) -> tuple[bytes, Callable[[Tensor], Tensor]]:
    """The content of the file, and the function that it computes once loaded."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue(), torch.export.load(io.BytesIO(buffer.getvalue())).module()


def _as_onnx(program: torch.export.ExportedProgram) -> tuple[bytes, Callable[[Tensor], Tensor]]:
    import onnxruntime

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    exported: Any = torch.onnx.export(
        program, dynamo=True, verbose=False, input_names=["images"], output_names=["logits"],
        dynamic_shapes=({0: "batch"},),  # names the axis
    )  # fmt: skip
    content = exported.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content, lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


@torch.no_grad()
def _difference(network: Trained, run: Callable[[Tensor], Tensor], batch: int) -> float:
    """The largest difference of a logit on random inputs, relative to the largest logit; inf if it is NaN."""
    images = _random_inputs(network, batch)
    expected, found = network.model(images), run(images)
    assert found.shape == expected.shape
    difference = ((found - expected).abs().max() / expected.abs().max()).item()
    return float("inf") if math.isnan(difference) else difference


def _random_inputs(network: Trained, batch: int) -> Tensor:
    """Random images, preprocessed as in training: (batch, 3, crop, crop) or (batch, 784) float32."""
    data = network.config.data if network.config else None
    crop = data.crop if isinstance(data, ImageData) else PUBLIC_CROP
    shape = (3, crop, crop) if data is None or isinstance(data, ImageData) else (784,)
    uniform = torch.rand(batch, *shape, generator=generator(0, "export", batch))
    return normalize(uniform * 255) if len(shape) == 3 else uniform.round()
