"""The schema of evaluate.py's options, in the notation of `bn.config.notation`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from bn.config import ImageData, Path, Threads
from bn.config.notation import Doc, checked
from bn.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    checkpoint: Annotated[
        tuple[Path, ...],
        "not empty",
        Doc("files or run directories (their last checkpoint), relative to the current directory"),
    ]
    crops: Annotated[Literal[1, 144], Doc("crops per image: 1, central, as in training; or GoogLeNet's 144")]
    statistics: Annotated[
        Literal["moving", "population"],
        Doc("statistics of BN: the moving averages in the file, or Algorithm 2's"),
    ]
    device: Annotated[Literal["auto", "cpu", "cuda"], Doc("device; auto: a GPU if available")]
    threads: Annotated[Threads | None, Doc("number of CPU threads; null: as many as there are cores")]
    precision: Annotated[
        Literal["auto", "float32", "bf16"],
        Doc("precision of the forward pass; auto: bf16 on a GPU, float32 on a CPU"),
    ]
    batch: Annotated[int, ">= 1, <= 65536", Doc("size of a forward pass", "crops")]
    output: Annotated[Path, Doc("folder of the records and their table, relative to the repository")]
    images: Annotated[
        Annotated[tuple[Path, ...], "not empty"] | None,
        Doc("files or folders of your own images: prints their most probable classes instead of evaluating"),
    ] = None
    top: Annotated[
        int, ">= 1, <= 1e6", Doc("number of classes to print for each of your own images", "classes")
    ] = 5
    json: Annotated[bool, Doc("print one JSON object for each of your own images; same as --json")] = False


@dataclass(frozen=True, kw_only=True)
class EvaluationAndData(Evaluation):
    """All keys that --help describes. For a key of the data, null means the value used in training."""

    data: ImageData


@dataclass(frozen=True)
class _Data:
    data: ImageData


def evaluation_from(mapping: Mapping[str, Any]) -> Evaluation:
    """Check a mapping, in which a single path may replace a list of one. UserError if a value is wrong."""
    given = mapping.get("checkpoint")
    if not given:
        raise UserError(
            "checkpoint: required; accepted: a checkpoint, a run directory, or a list such as [a,b]"
        )
    lists = {key: [value] for key in ("checkpoint", "images") if isinstance(value := mapping.get(key), str)}
    evaluation = checked(Evaluation, {**mapping, **lists})
    if evaluation.images is None and evaluation.json:
        raise UserError("json=true: accepted with images=FOLDER_OR_FILE")
    return evaluation


def data_from(own: Mapping[str, Any], chosen: Mapping[str, Any]) -> ImageData:
    """A checkpoint's `own` data with the values in `chosen` that are not null. UserError if one is wrong."""
    chosen = {key: value for key, value in chosen.items() if value is not None}
    data = checked(_Data, {"data": {**own, **chosen}}).data
    if data.crop > data.resize:
        raise UserError(f"data.crop={data.crop}: accepted: at most data.resize={data.resize}")
    return data
