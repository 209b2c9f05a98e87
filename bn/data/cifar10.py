"""CIFAR-10, as torchvision downloads it."""

import pickle
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np

from bn.data.datasets import ArrayDataset
from bn.data.tree import Split
from bn.errors import UserError
from bn.files import no_empty_folders


def cifar10_datasets(folder: Path) -> dict[Split, ArrayDataset]:
    """Load the 50,000 training and 10,000 test images, downloading them into `folder` if they are missing.

    UserError if the download fails.
    """
    from torchvision.datasets import CIFAR10  # a slow import

    try:
        with no_empty_folders(folder):
            train, test = (CIFAR10(str(folder), train=train, download=True) for train in (True, False))
    except (OSError, RuntimeError, HTTPException, pickle.UnpicklingError, EOFError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{folder}: CIFAR-10 is missing, and the download failed ({reason}): put cifar-10-python.tar.gz "
            "there, or images as {train,val}/<class>/*.png"
        ) from error
    return {"train": _dataset(train, "cifar10/train"), "val": _dataset(test, "cifar10/test")}


def _dataset(found: Any, name: str) -> ArrayDataset:
    images = np.ascontiguousarray(found.data.transpose(0, 3, 1, 2))  # channels first
    return ArrayDataset(images, np.array(found.targets), name)
