"""Checks, before a run directory is created, that the data exist and match the config.

Only folders are inspected. This module does not import torch, so that a config is refused quickly.
"""

from pathlib import Path

from bn.config import Config, ImageData, MnistData
from bn.config.idx_sets import IDX_SETS, candidate_paths
from bn.data import tree
from bn.errors import UserError
from bn.files import REPOSITORY

CLASSES = 10  # in the data sets that are held in memory
EXAMPLES = {"smoke": 2_000, "cifar10": 50_000}  # training images in them
PREPARE = {
    "imagenet": "make it with `python scripts/prepare_imagenet.py ARCHIVES --root {root}`",
    "tiny_imagenet": "make it with `python scripts/prepare_tiny_imagenet.py --download --root {root}`",
    "cifar10": "put images there as {{train,val}}/<class>/*.png, or remove {root} to download CIFAR-10",
}


def check_data(config: Config) -> None:
    """Raise UserError if the data of `config` are missing or do not match it."""
    data = config.data
    if isinstance(data, MnistData):
        root = REPOSITORY / data.root
        if not root.is_dir() and root != REPOSITORY / "data" / data.name:  # which a download creates
            raise UserError(f"data.root={data.root}: no such folder: {IDX_SETS[data.name].remedy}")
        return
    needed = data.validation + config.optim.batch
    if in_memory(data):
        found = EXAMPLES[data.name]
    else:
        found = _count_training_images(REPOSITORY / data.root, data.classes, how_to_prepare(data), needed)
    check_validation(data, found)
    if found < needed:
        left = found - data.validation
        raise UserError(f"optim.batch={config.optim.batch}: accepted: at most the {left} training examples")


def _count_training_images(root: Path, classes: int, prepare: str, enough: int) -> int:
    """Count the training images, stopping once there are `enough`. UserError if the tree is malformed."""
    found = 0
    for name in tree.class_folders(root, classes, prepare):
        found += len(tree.images(root / "train" / name, prepare))
        if found >= enough:
            break
    return found


def fetch_data(config: Config) -> None:
    """Download missing data where possible, once for all runs and processes. UserError if that fails."""
    data, root = config.data, REPOSITORY / config.data.root
    if isinstance(data, MnistData):
        files = [candidate_paths(root, name) for name in IDX_SETS[data.name].sha256]
        if not all(any(path.exists() for path in paths) for paths in files):
            from bn.data.mnist import load_mnist

            load_mnist(root, data.threshold, data.validation, data.name)
    elif data.name == "cifar10" and in_memory(data) and not (root / "cifar-10-batches-py").exists():
        from bn.data.cifar10 import cifar10_datasets

        cifar10_datasets(root)


def check_validation(data: ImageData, found: int) -> None:
    """Raise UserError if all of the `found` training images would be held out."""
    if data.validation >= found:
        raise UserError(
            f"data.validation={data.validation}: accepted: fewer than the {found} training images"
        )


def how_to_prepare(data: ImageData) -> str:
    return PREPARE[data.name].format(root=REPOSITORY / data.root)


def in_memory(data: ImageData) -> bool:
    """Whether the data set is held in arrays, without a tree of files. UserError if it is misconfigured."""
    if data.name == "smoke" and data.root:
        raise UserError(f"data.root={data.root}: data=smoke is generated; accepted: empty")
    is_tree = any((REPOSITORY / data.root / split).exists() for split in ("train", "val"))
    arrays = data.name == "smoke" or (data.name == "cifar10" and not is_tree)
    if arrays and data.classes != CLASSES:
        raise UserError(f"data.classes={data.classes}: data={data.name} has {CLASSES}; accepted: {CLASSES}")
    return arrays
