"""A split decoded into one array, once: later runs map it from a file, and share its memory."""

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from bn.data.jpeg import BrokenImage
from bn.data.pictures import ArrayPictures, FolderPictures
from bn.data.tree import Listing
from bn.errors import UserError


class Decoded(NamedTuple):
    images: np.ndarray  # (N, 3, side, side) uint8; a broken one is black
    labels: np.ndarray  # (N,) int64
    broken: dict[int, BrokenImage]  # by index


def decode_all(pictures: ArrayPictures | FolderPictures, side: int, cache: Path, name: str) -> Decoded:
    """All pictures as one array, kept in the folder `cache` under `name` and what the files are.

    UserError if a picture is not `side` x `side` pixels.
    """
    if isinstance(pictures, ArrayPictures):
        _check_size(pictures.images.shape[2:], side, pictures.names[0])
        return Decoded(pictures.images, pictures.labels, {})
    path = cache / f"{name}-{side}-{_digest(pictures.names)}.npy"
    images, broken = _kept(path, len(pictures), side), {}
    if images is None:
        images, broken = _decode(pictures, side)
        if not broken:  # else the file would not tell which
            _keep(path, images)
            kept = _kept(path, len(pictures), side)
            images = images if kept is None else kept
    return Decoded(images, pictures.labels, broken)


def _decode(pictures: FolderPictures, side: int) -> tuple[np.ndarray, dict[int, BrokenImage]]:
    images = np.zeros((len(pictures), 3, side, side), np.uint8)
    broken = {}
    bar = tqdm(pictures.names, desc="decoding", unit=" images", disable=None, dynamic_ncols=True)
    for i, path in enumerate(bar):
        try:
            image = pictures[i]
        except BrokenImage as error:
            broken[i] = error
            continue
        _check_size(image.shape[1:], side, path)
        images[i] = image.numpy()
    return images, broken


def _check_size(size: Sequence[int], side: int, name: str) -> None:
    height, width = size
    if (height, width) != (side, side):
        raise UserError(
            f"{name}: {width}x{height} pixels, data.resize={side}: "
            "pictures of other sizes are fed with data.feed=stream"
        )


def _digest(listing: Listing) -> str:
    """Of the paths, sizes and times of all files: another digest, another content."""
    digest = hashlib.sha256()
    for path in listing:
        try:
            found = os.stat(path)
            state = f"{found.st_size} {found.st_mtime_ns}"
        except OSError:
            state = "gone"
        digest.update(os.fsencode(f"{os.path.relpath(path, listing.folder)}\0{state}\0"))
    return digest.hexdigest()[:16]


def _kept(path: Path, count: int, side: int) -> np.ndarray | None:
    """The array as a map of its file; None where there is none that is whole."""
    try:
        images = np.load(path, mmap_mode="c")  # as if writable, since torch insists; the file stays as it is
    except (OSError, ValueError, EOFError):
        return None
    return images if images.shape == (count, 3, side, side) and images.dtype == np.uint8 else None


def _keep(path: Path, images: np.ndarray) -> None:
    """Leave the array for later runs, whole or not at all; a disk that cannot take it is no error."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.save(file, images)
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):  # a read-only file system refuses this too
            part.unlink(missing_ok=True)
