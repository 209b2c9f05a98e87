"""MNIST for section 4.1: binary 28x28 images, held as tensors on the device.

The repository contains the four gzipped IDX files (`data/mnist`). The first use unpacks them in the same
folder, and every use verifies their checksums. If the files were removed, torchvision downloads them. Other
data sets in the same format are read in the same way (bn/config/idx_sets.py).
"""

import contextlib
import gzip
import hashlib
import zlib
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bn.config.choices import INPUTS, load
from bn.config.idx_sets import IDX_SETS, IdxSet, candidate_paths
from bn.errors import UserError
from bn.files import no_empty_folders, read_regular, write_atomically


class Examples(NamedTuple):
    images: Tensor  # (N, 784) uint8, 0 or 1, or float32 if transformed (bn/data/inputs.py)
    labels: Tensor  # (N,) int64, 0 to 9

    def to(self, device: torch.device) -> "Examples":
        return Examples(self.images.to(device), self.labels.to(device))

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The images, as float32, and the labels at `indices` (N,) int64."""
        return self.images.index_select(0, indices).float(), self.labels.index_select(0, indices)


class Mnist(NamedTuple):
    train: Examples
    validation: Examples | None  # the end of the training set, if examples are held out
    test: Examples


def load_mnist(
    root: Path, threshold: float = 0.5, validation: int = 0, name: str = "mnist",
    examples: int | None = None, inputs: str = "binary",
) -> Mnist:  # fmt: skip
    """Read, verify and binarize MNIST or another data set of `bn.config.idx_sets.IDX_SETS`.

    A pixel is 1 if pixel / 255 > `threshold`. The last `validation` of the 60,000 examples are held out, and
    the first `examples` of the others form the training set (None: all). `inputs` names a transformation of
    the binary images in `bn.config.choices.INPUTS`.

    Raises UserError with the file's name if a file is damaged, or missing and cannot be downloaded.
    """
    source = IDX_SETS[name]
    files = {name: _read(root, name, source) for name in source.sha256}
    train = _split(files["train-images-idx3-ubyte"], files["train-labels-idx1-ubyte"], threshold)
    test = _split(files["t10k-images-idx3-ubyte"], files["t10k-labels-idx1-ubyte"], threshold)
    kept = len(train.labels) - validation
    held_out = Examples(train.images[kept:], train.labels[kept:]) if validation else None
    taken = kept if examples is None else examples
    train = Examples(train.images[:taken], train.labels[:taken])
    return changed(Mnist(train, held_out, test), inputs)


def changed(data: Mnist, inputs: str) -> Mnist:
    """Apply the transformation `inputs` of `bn.config.choices.INPUTS` to binary images."""
    if inputs == "binary":
        return data
    transform = load(INPUTS[inputs])(data.train.images)

    return Mnist(
        *(
            split and Examples(transform(split.images, name), split.labels)
            for name, split in data._asdict().items()
        )
    )


def _split(images: bytes, labels: bytes, threshold: float) -> Examples:
    # IDX headers have 16 bytes for images, 8 for labels. The checksums cover their content.
    gray = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28 * 28)
    binary = (gray > threshold * 255).astype(np.uint8)
    digits = np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)
    return Examples(torch.from_numpy(binary), torch.from_numpy(digits))


def _read(root: Path, name: str, source: IdxSet) -> bytes:
    """Read and verify an IDX file: unpacked, else as distributed (gzipped or not), else downloaded."""
    unpacked, *distributed = candidate_paths(root, name)
    with contextlib.suppress(OSError):
        if _is_verified(content := read_regular(unpacked), source.sha256[name]):
            return content  # otherwise it is truncated or damaged: unpack it again
    path = next((path for path in distributed if path.exists()), None) or _download(root, name, source)
    content = _content(path)
    if not _is_verified(content, source.sha256[name]):
        raise UserError(f"{path}: damaged, or from another data set (checksum differs): {source.remedy}")
    with contextlib.suppress(OSError):  # a read-only disk is not an error
        unpacked.parent.mkdir(exist_ok=True)
        write_atomically(unpacked, content)
    return content


def _is_verified(content: bytes, sha256: str) -> bool:
    return hashlib.sha256(content).hexdigest() == sha256


def _content(path: Path) -> bytes:
    """The content of a file that may be gzipped; empty if it is damaged."""
    try:
        content = read_regular(path)
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return b""
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def _download(root: Path, name: str, source: IdxSet) -> Path:
    from torchvision import datasets  # a slow import

    downloaded = root / source.torchvision / "raw" / name
    try:
        with no_empty_folders(downloaded.parent):
            getattr(datasets, source.torchvision)(str(root), download=True)
    except (OSError, RuntimeError, HTTPException) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{root / name}.gz: missing, and the download failed ({reason}): {source.remedy}"
        ) from error
    return downloaded
