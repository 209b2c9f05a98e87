"""The options of an evaluation, in the notation of `bn.config.notation`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from bn.config import ImageData, Path, Threads
from bn.config.notation import Doc, checked
from bn.errors import UserError


@dataclass(frozen=True)
class Evaluation:
    checkpoint: Annotated[
        tuple[Path, ...],
        "not empty",
        Doc("files or run directories (their last checkpoint), relative to where the command is given"),
    ]
    crops: Annotated[Literal[1, 144], Doc("of each image: 1, central, as in training; or GoogLeNet's 144")]
    statistics: Annotated[
        Literal["moving", "population"],
        Doc("statistics of BN: the moving averages in the file, or Algorithm 2's"),
    ]
    device: Annotated[Literal["auto", "cpu", "cuda"], Doc("where it runs; auto: on a GPU if there is one")]
    threads: Annotated[Threads | None, Doc("number of CPU threads; null: as many as there are cores")]
    precision: Annotated[
        Literal["auto", "float32", "bf16", "fp16"],
        Doc("precision of the forward pass; auto: bf16 on a GPU, float32 on a CPU"),
    ]
    batch: Annotated[int, ">= 1, <= 65536", Doc("size of a forward pass", "crops")]
    output: Annotated[Path, Doc("folder of the records and their table; relative to the repository")]


@dataclass(frozen=True)
class EvaluationAndData(Evaluation):
    """All that --help tells of. Of the data null is the value that the network was trained with."""

    data: ImageData


@dataclass(frozen=True)
class _Data:
    data: ImageData


def evaluation_from(mapping: Mapping[str, Any]) -> Evaluation:
    """The checked `Evaluation` of a mapping, where a checkpoint may stand for a list of one, or UserError."""
    given = mapping.get("checkpoint")
    if not given:
        raise UserError(
            "checkpoint: required; accepted: a checkpoint, a run directory, or a list such as [a,b]"
        )
    return checked(Evaluation, {**mapping, "checkpoint": [given] if isinstance(given, str) else given})


def data_from(own: Mapping[str, Any], chosen: Mapping[str, Any]) -> ImageData:
    """A checkpoint's `own` data, and in place of them what of `chosen` is not null; checked, or UserError."""
    chosen = {key: value for key, value in chosen.items() if value is not None}
    data = checked(_Data, {"data": {**own, **chosen}}).data
    if data.crop > data.resize:
        raise UserError(f"data.crop={data.crop}: accepted: at most data.resize={data.resize}")
    return data
