"""Data sets in MNIST's format: 60,000 and 10,000 images of 28x28 pixels in ten classes, in four IDX files.

The keys are the names in the config; docs/extending.md shows how to add one. This module does not import
torch, because the config schema imports it.
"""

from pathlib import Path
from typing import NamedTuple


class IdxSet(NamedTuple):
    """The source and the checksums of a data set."""

    sha256: dict[str, str]  # of each unpacked file
    torchvision: str  # the class that downloads it
    remedy: str  # how to get the files, for error messages


IDX_SETS = {
    "mnist": IdxSet(
        sha256={
            "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
        torchvision="MNIST",
        remedy="`git checkout -- data/mnist` restores the bundled files, which are read without data.root",
    ),
    # Xiao, Rasul & Vollgraf 2017, arXiv 1708.07747. The checksums are of the unpacked published archives,
    # whose MD5 sums torchvision verifies.
    "fashion_mnist": IdxSet(
        sha256={
            "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
        torchvision="FashionMNIST",
        remedy="put the four files into a folder and name it with data.root (Debian's package "
        "dataset-fashion-mnist: data.root=/usr/share/datasets/fashion-mnist)",
    ),
}


def candidate_paths(root: Path, name: str) -> tuple[Path, Path, Path]:
    """The paths where a file may be: unpacked by an earlier run, or as distributed, gzipped or not."""
    return root / "unpacked" / name, root / f"{name}.gz", root / name
