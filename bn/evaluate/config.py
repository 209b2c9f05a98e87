"""The options of an evaluation, in the notation of `bn.config.notation`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from bn.config import ImageData, Path, Threads
from bn.config.notation import checked
from bn.errors import UserError


@dataclass(frozen=True)
class Evaluation:
    checkpoint: Annotated[
        tuple[Path, ...], "not empty"
    ]  # files or run directories, relative to where the command is given
    crops: Literal[1, 144]
    statistics: Literal["moving", "population"]  # of BN: moving averages, or Algorithm 2's
    device: Literal["auto", "cpu", "cuda"]
    threads: Threads | None  # of the CPU; null: as many as it has cores
    precision: Literal["auto", "float32", "bf16", "fp16"]
    batch: Annotated[int, ">= 1, <= 65536"]  # crops in a forward pass
    output: Path  # where records go, relative to the repository


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
