"""MNIST for section 4.1: 28x28 binary images, all of them as tensors on the device.

The repository contains the four IDX files, gzipped (`data/mnist`). The first use unpacks them in the same
folder, and every use verifies their checksums. If the bundled files were removed, torchvision downloads them.
"""

import contextlib
import gzip
import hashlib
import os
import zlib
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bn.errors import UserError

SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


class Split(NamedTuple):
    """A set of examples."""

    images: Tensor  # (N, 784) uint8, 0 or 1
    labels: Tensor  # (N,) int64, 0 to 9

    def to(self, device: torch.device) -> "Split":
        return Split(self.images.to(device), self.labels.to(device))


class Mnist(NamedTuple):
    train: Split
    validation: Split | None  # the last examples of the training set, where some are held out
    test: Split


def load_mnist(root: Path, threshold: float = 0.5, validation: int = 0) -> Mnist:
    """Read, verify and binarize MNIST.

    `threshold` is in units of the full gray range: a pixel is 1 where pixel / 255 > threshold.
    `validation` examples, the last of the 60,000, are held out of the training set.
    Raises UserError with one line naming the file if one is damaged, or missing and not to be had.
    """
    files = {name: _read(root, name) for name in SHA256}
    train = _split(files["train-images-idx3-ubyte"], files["train-labels-idx1-ubyte"], threshold)
    test = _split(files["t10k-images-idx3-ubyte"], files["t10k-labels-idx1-ubyte"], threshold)
    if not validation:
        return Mnist(train, None, test)
    kept = len(train.labels) - validation
    held_out = Split(train.images[kept:], train.labels[kept:])
    return Mnist(Split(train.images[:kept], train.labels[:kept]), held_out, test)


def _split(images: bytes, labels: bytes, threshold: float) -> Split:
    # IDX: 16 bytes of header before the images, 8 before the labels; the checksum vouches for both.
    gray = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28 * 28)
    binary = (gray > threshold * 255).astype(np.uint8)
    digits = np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)
    return Split(torch.from_numpy(binary), torch.from_numpy(digits))


def _read(root: Path, name: str) -> bytes:
    """The verified content of one IDX file: unpacked, else bundled, else downloaded."""
    unpacked = root / "unpacked" / name
    if unpacked.exists():
        content = unpacked.read_bytes()
        if _verified(content, name):
            return content  # else it was cut short: unpack it again
    bundled = root / f"{name}.gz"
    if bundled.exists():
        try:
            content = gzip.decompress(bundled.read_bytes())
        except (OSError, EOFError, zlib.error):
            content = b""
        if not _verified(content, name):
            raise UserError(
                f"{bundled}: damaged (checksum differs): restore it with "
                f"`git checkout -- {bundled}`, or remove it to download MNIST"
            )
    else:
        content = _download(root, name)
    _keep(unpacked, content)
    return content


def _verified(content: bytes, name: str) -> bool:
    return hashlib.sha256(content).hexdigest() == SHA256[name]


def _keep(path: Path, content: bytes) -> None:
    """Leave the unpacked file for the next use, whole or not at all; a read-only disk is no error."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(exist_ok=True)
        part.write_bytes(content)
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):  # a read-only file system refuses this too
            part.unlink(missing_ok=True)


def _download(root: Path, name: str) -> bytes:
    from torchvision.datasets import MNIST  # costs a second, and only the fallback needs it

    try:
        MNIST(str(root), download=True)
        content = (root / "MNIST" / "raw" / name).read_bytes()
    except (OSError, RuntimeError, HTTPException) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{root / name}.gz: missing, and the download failed ({reason}): "
            f"restore it with `git checkout -- {root}`"
        ) from error
    if not _verified(content, name):
        raise UserError(f"{root}/MNIST/raw/{name}: downloaded, but the checksum differs: remove it")
    return content
