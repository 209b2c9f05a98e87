"""Whether data are there and fit a config, as far as a look at folders tells: before a run directory is made.

No torch here, which a refused config does without.
"""

from pathlib import Path

from bn.config import Config, ImageData, MnistData
from bn.data import tree
from bn.data.idx_sets import IDX_SETS, places
from bn.errors import UserError
from bn.run.directory import REPOSITORY

CLASSES = 10  # of the data sets that are arrays and no trees
EXAMPLES = {"smoke": 2_000, "cifar10": 50_000}  # for training
PREPARE = {
    "imagenet": "make it with `python scripts/prepare_imagenet.py ARCHIVES --root {root}`",
    "tiny_imagenet": "make it with `python scripts/prepare_tiny_imagenet.py --download --root {root}`",
    "cifar10": "put images there as {{train,val}}/<class>/*.png, or remove {root} to download CIFAR-10",
}


def check_data(config: Config) -> None:
    """UserError with one line if the data of `config` are not there, or not what it says."""
    data = config.data
    if isinstance(data, MnistData):
        root = REPOSITORY / data.root
        if not root.is_dir() and root != REPOSITORY / "data" / data.name:  # which a download makes
            raise UserError(f"data.root={data.root}: no such folder: {IDX_SETS[data.name].elsewhere}")
        return
    needed = data.validation + config.optim.batch
    if in_arrays(data):
        found = EXAMPLES[data.name]
    else:
        found = _images_in_tree(REPOSITORY / data.root, data.classes, how_to_prepare(data), needed)
    check_validation(data, found)
    if found < needed:
        left = found - data.validation
        raise UserError(f"optim.batch={config.optim.batch}: accepted: at most the {left} training examples")


def _images_in_tree(root: Path, classes: int, prepare: str, enough: int) -> int:
    """How many training images there are, as far as `enough`. UserError if it is no such tree."""
    found = 0
    for name in tree.class_folders(root, classes, prepare):
        found += len(tree.images(root / "train" / name, prepare))
        if found >= enough:
            break
    return found


def fetch_data(config: Config) -> None:
    """Download what is not there and can be had, once for all who need it. UserError if that fails."""
    data, root = config.data, REPOSITORY / config.data.root
    if isinstance(data, MnistData):
        files = [places(root, name) for name in IDX_SETS[data.name].sha256]
        if not all(any(path.exists() for path in of_file) for of_file in files):
            from bn.data.mnist import load_mnist

            load_mnist(root, data.threshold, data.validation, data.name)
    elif data.name == "cifar10" and in_arrays(data) and not (root / "cifar-10-batches-py").exists():
        from bn.data.cifar10 import cifar10_pictures

        cifar10_pictures(root)


def check_validation(data: ImageData, found: int) -> None:
    """UserError where all of the `found` training images would be held out."""
    if data.validation >= found:
        raise UserError(
            f"data.validation={data.validation}: accepted: fewer than the {found} training images"
        )


def how_to_prepare(data: ImageData) -> str:
    return PREPARE[data.name].format(root=REPOSITORY / data.root)


def in_arrays(data: ImageData) -> bool:
    """Whether its images are no tree of files. UserError where it says of them what is not so."""
    is_tree = any((REPOSITORY / data.root / split).exists() for split in ("train", "val"))
    if data.name == "smoke" and data.root:
        raise UserError(f"data.root={data.root}: data=smoke is generated; accepted: empty")
    arrays = data.name == "smoke" or (data.name == "cifar10" and not is_tree)
    if arrays and data.classes != CLASSES:
        raise UserError(f"data.classes={data.classes}: data={data.name} has {CLASSES}; accepted: {CLASSES}")
    return arrays
