"""MNIST for section 4.1: 28x28 binary images, all of them as tensors on the device.

The repository contains the four IDX files, gzipped (`data/mnist`). The first use unpacks them in the same
folder, and every use verifies their checksums. If the bundled files were removed, torchvision downloads them.
Other sets of the same form are read in the same way (bn/data/idx_sets.py).
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
from bn.data.idx_sets import IDX_SETS, IdxSet, places
from bn.errors import UserError
from bn.files import no_empty_folders, read_regular, write_whole


class Split(NamedTuple):
    """A set of examples."""

    images: Tensor  # (N, 784) uint8, 0 or 1, or float32 after a change (bn/data/inputs.py)
    labels: Tensor  # (N,) int64, 0 to 9

    def to(self, device: torch.device) -> "Split":
        return Split(self.images.to(device), self.labels.to(device))

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The images as float32 and the labels at `indices`, int64 (N,)."""
        return self.images.index_select(0, indices).float(), self.labels.index_select(0, indices)


class Mnist(NamedTuple):
    train: Split
    validation: Split | None  # the last examples of the training set, where some are held out
    test: Split


def load_mnist(
    root: Path,
    threshold: float = 0.5,
    validation: int = 0,
    name: str = "mnist",
    examples: int | None = None,
    inputs: str = "binary",
) -> Mnist:
    """Read, verify and binarize MNIST, or the set of that name in `bn.data.idx_sets.IDX_SETS`.

    `threshold` is in units of the full gray range: a pixel is 1 where pixel / 255 > threshold.
    `validation` examples, the last of the 60,000, are held out of the training set, and of the others the
    first `examples` are taken (None: all). `inputs` is what is made of the binary images, by its name in
    `bn.config.choices.INPUTS`.
    Raises UserError with one line naming the file if one is damaged, or missing and not to be had.
    """
    source = IDX_SETS[name]
    files = {name: _read(root, name, source) for name in source.sha256}
    train = _split(files["train-images-idx3-ubyte"], files["train-labels-idx1-ubyte"], threshold)
    test = _split(files["t10k-images-idx3-ubyte"], files["t10k-labels-idx1-ubyte"], threshold)
    kept = len(train.labels) - validation
    held_out = Split(train.images[kept:], train.labels[kept:]) if validation else None
    taken = kept if examples is None else examples
    train = Split(train.images[:taken], train.labels[:taken])
    return changed(Mnist(train, held_out, test), inputs)


def changed(data: Mnist, inputs: str) -> Mnist:
    """The same examples, with the images that `inputs` in `bn.config.choices.INPUTS` makes of binary ones."""
    if inputs == "binary":
        return data
    change = load(INPUTS[inputs])(data.train.images)

    def of(split: Split, name: str) -> Split:
        return Split(change(split.images, name), split.labels)

    validation = data.validation and of(data.validation, "validation")
    return Mnist(of(data.train, "train"), validation, of(data.test, "test"))


def _split(images: bytes, labels: bytes, threshold: float) -> Split:
    # IDX: 16 bytes of header before the images, 8 before the labels; the checksum vouches for both.
    gray = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28 * 28)
    binary = (gray > threshold * 255).astype(np.uint8)
    digits = np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)
    return Split(torch.from_numpy(binary), torch.from_numpy(digits))


def _read(root: Path, name: str, source: IdxSet) -> bytes:
    """The verified content of one IDX file: unpacked, else as it came (gzipped or not), else downloaded."""
    unpacked, *came = places(root, name)
    with contextlib.suppress(OSError):
        if _is_verified(content := read_regular(unpacked), source.sha256[name]):
            return content  # else it was cut short: unpack it again
    path = next((path for path in came if path.exists()), None) or _download(root, name, source)
    content = _content(path)
    if not _is_verified(content, source.sha256[name]):
        raise UserError(f"{path}: damaged, or of another data set (checksum differs): {source.elsewhere}")
    with contextlib.suppress(OSError):  # a read-only disk is no error
        unpacked.parent.mkdir(exist_ok=True)
        write_whole(unpacked, content)
    return content


def _is_verified(content: bytes, sha256: str) -> bool:
    return hashlib.sha256(content).hexdigest() == sha256


def _content(path: Path) -> bytes:
    """Of a file that may be gzipped; empty where it is damaged."""
    try:
        content = read_regular(path)
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return b""
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def _download(root: Path, name: str, source: IdxSet) -> Path:
    from torchvision import datasets  # costs a second, and only the fallback needs it

    downloaded = root / source.torchvision / "raw" / name
    try:
        with no_empty_folders(downloaded.parent):
            getattr(datasets, source.torchvision)(str(root), download=True)
    except (OSError, RuntimeError, HTTPException) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{root / name}.gz: missing, and the download failed ({reason}): {source.elsewhere}"
        ) from error
    return downloaded
