"""A split decoded once into one array. Later runs map it from a file and share its memory."""

import contextlib
import fcntl
import hashlib
import io
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
from bn.files import open_locked, open_regular, whole

DIGEST = 64  # bytes at the beginning of a file: the digits of a SHA-256


class Decoded(NamedTuple):
    images: np.ndarray  # (N, 3, side, side) uint8; a broken one is black
    labels: np.ndarray  # (N,) int64
    broken: dict[int, BrokenImage]  # by index


def decode_all(pictures: ArrayPictures | FolderPictures, side: int, cache: Path, name: str) -> Decoded:
    """All images as one array, kept in the folder `cache` under `name` and what the files are.

    Which of them are broken is kept too; those are tried again, since a disk's fault may pass. Before an
    array is written, whatever of that `name` and `side` nobody uses is removed: arrays of other files, and
    the parts that a killed process left. Runs at the same time are safe: each has what it maps, or writes,
    locked. Of two trees that are read in turns, only the last is kept.

    UserError if an image is not `side` x `side` pixels.
    """
    if isinstance(pictures, ArrayPictures):
        _check_size(pictures.images.shape[2:], side, pictures.names[0])
        return Decoded(pictures.images, pictures.labels, {})
    path = cache / f"{name}-{side}-{_digest(pictures.names)}.pictures"
    shape = (len(pictures), 3, side, side)
    kept = _kept(path, shape)
    if kept is not None:
        images, once_broken = kept
        return Decoded(images, pictures.labels, _decode(pictures, once_broken, images))
    images = np.zeros(shape, np.uint8)
    broken = _decode(pictures, range(len(pictures)), images)
    _remove_unused(cache, f"{name}-{side}-*")
    _keep(path, images, list(broken))
    kept = _kept(path, shape)
    return Decoded(images if kept is None else kept[0], pictures.labels, broken)


def _decode(pictures: FolderPictures, examples: Sequence[int], images: np.ndarray) -> dict[int, BrokenImage]:
    """Put these examples into `images`; those that are broken."""
    broken = {}
    bar = tqdm(
        examples, desc="decoding", unit=" images", disable=None if len(examples) else True, dynamic_ncols=True
    )
    for i in bar:
        try:
            image = pictures[i]
        except BrokenImage as error:
            broken[i] = error
            continue
        _check_size(image.shape[1:], images.shape[2], pictures.names[i])
        images[i] = image.numpy()
    return broken


def _check_size(size: Sequence[int], side: int, name: str) -> None:
    height, width = size
    if (height, width) != (side, side):
        raise UserError(
            f"{name}: {width}x{height} pixels, data.resize={side}: "
            "images of other sizes need data.feed=stream"
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


def _kept(path: Path, shape: tuple[int, ...]) -> tuple[np.ndarray, list[int]] | None:
    """The array as a map of its file, and which are broken; None where there is no file that is whole."""
    try:
        with open_regular(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # until the map is gone, which has the file too
            digest = file.read(DIGEST)
            content = np.memmap(file, np.uint8, "c")  # as if writable, since torch insists; the file stays
            if hashlib.sha256(content[DIGEST:].data).hexdigest().encode() != digest:
                return None
            file.seek(DIGEST)
            broken = np.load(file)
            images = content[file.tell() :].reshape(shape)
    except (OSError, ValueError, EOFError):
        return None
    return images, broken.tolist()


def _keep(path: Path, images: np.ndarray, broken: Sequence[int]) -> None:
    """Leave the array for later runs, whole or not at all; a disk that cannot take it is no error.

    The file: the digest of what follows, which are broken, the images.
    """
    head = io.BytesIO()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(head, np.array(broken, np.int64))
        digest = hashlib.sha256(head.getvalue())
        digest.update(images.data)
        with whole(path) as file:
            for part in (digest.hexdigest().encode(), head.getvalue(), images.data):
                file.write(part)


def _remove_unused(cache: Path, pattern: str) -> None:
    for path in cache.glob(pattern):
        with contextlib.suppress(OSError), open_locked(path, "r+b"):  # an OSError where somebody has it
            path.unlink()
