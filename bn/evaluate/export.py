"""Trained networks for other programs: folded, as ONNX and as torch.export writes them.

Each file says in its metadata, under "bn", what network it holds and what its input is.
"""

import copy
import importlib.util
import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bn.config import ImageData
from bn.data.class_names import class_names
from bn.data.photometric import MEAN, STD, normalize
from bn.data.seeds import generator
from bn.errors import UserError
from bn.evaluate.networks import statistics_of, take_population_statistics
from bn.evaluate.trained import Trained
from bn.files import write_whole
from bn.norm import fold

FORMATS = {"onnx": "onnx", "torch": "pt2"}  # and the ending of a file's name
BATCHES = (1, 2, 5)  # of the random inputs that a file is checked on
TOLERANCE = 1e-4  # of the largest logit: float32 rounds differently where BN is folded
PUBLIC_CROP = 224  # of public weights, which do not say
NEEDED = ("onnx", "onnxscript", "onnxruntime")


class Exported(NamedTuple):
    path: Path
    size: int  # bytes
    difference: float  # the largest between its logits and the network's, on the random inputs
    largest: float  # logit of the network, in absolute value


def export(network: Trained, statistics: str, formats: list[str], folder: Path) -> list[Exported]:
    """Write the network into `folder`, once for each format, with these statistics of BN.

    Before a file is written it is read back, and computes the logits of random inputs. UserError if they are
    not those of the network as it was, or if a package, or the data that Algorithm 2 needs, is not there.
    """
    missing = [name for name in NEEDED if "onnx" in formats and importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f'format=onnx: {missing[0]} is not installed: pip install -e ".[onnx]"; accepted without: torch'
        )
    statistics = statistics_of([network], statistics)
    if statistics == "population":
        assert network.config is not None
        take_population_statistics(network, network.config.data, torch.device("cpu"), "float32")
    # A network without BN has nothing to fold.
    folded = fold(network.model) if network.normalized else copy.deepcopy(network.model).eval()
    about = json.dumps(_described(network, statistics))
    program = torch.export.export(
        folded, (_random_inputs(network, 2),), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},)
    )
    written = []
    for name in formats:
        content, run = _as_onnx(program, about) if name == "onnx" else _as_torch(program, about)
        difference, largest = _compared(network, run)
        path = folder / f"{network.name}_{statistics}.{FORMATS[name]}"
        if not difference <= TOLERANCE * largest:
            raise UserError(
                f"{path}: not written: its logits differ by {difference:.3g} from the network's, which are "
                f"up to {largest:.3g}"
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
        written.append(Exported(path, len(content), difference, largest))
    return written


def _as_torch(program: torch.export.ExportedProgram, about: str) -> tuple[bytes, Callable[[Tensor], Tensor]]:
    """The file's content, and what it computes once it is read back."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={"bn": about})
    return buffer.getvalue(), torch.export.load(io.BytesIO(buffer.getvalue())).module()


def _as_onnx(program: torch.export.ExportedProgram, about: str) -> tuple[bytes, Callable[[Tensor], Tensor]]:
    import onnxruntime

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    made: Any = torch.onnx.export(
        program, dynamo=True, verbose=False, input_names=["images"], output_names=["logits"],
        dynamic_shapes=({0: "batch"},),  # which names the axis
    )  # fmt: skip
    model = made.model_proto
    model.metadata_props.add(key="bn", value=about)
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        (logits,) = session.run(["logits"], {"images": images.numpy()})
        return torch.from_numpy(logits)

    return content, run


@torch.no_grad()
def _compared(network: Trained, run: Callable[[Tensor], Tensor]) -> tuple[float, float]:
    """The largest difference of the logits, and the largest of the network's; NaN where one is."""
    pairs = []
    for images in _all_random_inputs(network):
        expected, found = network.model(images), run(images)
        assert found.shape == expected.shape
        pairs.append(torch.stack([(found - expected).abs().max(), expected.abs().max()]))
    difference, largest = torch.stack(pairs).amax(0).tolist()
    return difference, largest


def _all_random_inputs(network: Trained) -> Iterator[Tensor]:
    return (_random_inputs(network, batch) for batch in BATCHES)


def _random_inputs(network: Trained, batch: int) -> Tensor:
    """(batch, *shape) float32: random pixels, as the network sees images of them."""
    shape = _input_shape(network)
    uniform = torch.rand(batch, *shape, generator=generator(0, "export", batch))
    return normalize(uniform * 255) if len(shape) == 3 else uniform.round()


def _input_shape(network: Trained) -> tuple[int, ...]:
    """Of one example."""
    if network.config is None:
        return 3, PUBLIC_CROP, PUBLIC_CROP
    data = network.config.data
    return (3, data.crop, data.crop) if isinstance(data, ImageData) else (784,)


def _described(network: Trained, statistics: str) -> dict[str, Any]:
    """What the metadata say."""
    found: dict[str, Any] = {
        "network": network.name, "step": network.step, "checkpoint_sha256": network.sha256,
        "statistics": statistics, "input": {"shape": ["batch", *_input_shape(network)], "type": "float32"},
        "output": {"shape": ["batch", network.classes], "meaning": "logits"},
    }  # fmt: skip
    data = network.config.data if network.config else None
    if len(_input_shape(network)) == 3:
        found["input"] |= {"pixels": "RGB of 0..255, less the mean, divided by std", "mean": MEAN, "std": STD}
    if isinstance(data, ImageData):
        found["input"] |= {"resize": data.resize, "crop": data.crop}
        found["classes"] = class_names(data)
    elif data is not None:
        found["input"]["pixels"] = f"1 where gray / 255 > {data.threshold:g}, else 0"
    return found
