"""What the classes of a data set are called."""

from pathlib import Path

from bn.config import ImageData
from bn.run.directory import REPOSITORY

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def class_names(data: ImageData) -> tuple[str, ...] | None:
    """A name for each class, in the order of the labels; None where the data set has none.

    Of a tree the names of its class folders. Where these are the 1000 WordNet ids of ImageNet, or ImageNet is
    not there, as with public weights, they are torchvision's names, which are in the order of the ids.
    """
    names = _folders(REPOSITORY / data.root / "train") or _folders(REPOSITORY / data.root / "val")
    if data.name == "imagenet" and data.classes == 1000 and all(map(_is_wordnet_id, names)):
        from torchvision.models import ResNet18_Weights  # costs a second

        names = tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
    elif data.name == "cifar10" and not names:
        names = CIFAR10
    return names if len(names) == data.classes else None


def _folders(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(e.name for e in folder.iterdir() if e.is_dir() and not e.name.startswith(".")))
    except OSError:
        return ()


def _is_wordnet_id(name: str) -> bool:
    return len(name) == 9 and name[0] == "n" and name[1:].isdigit()
