"""ImageFolder trees: the listing, and errors in one line."""

import shutil

import numpy as np
import pytest
from torchvision.datasets import ImageFolder

from bn.data.datasets import read_tree
from bn.errors import UserError


def read(root, classes=2):
    return read_tree(root, classes, "run prepare.py")


def test_the_listing_equals_torchvisions(make_tree):
    root = make_tree(train=12, val=2)
    (root / "train" / "cat" / "notes.txt").write_text("not an image by its name")
    (root / "train" / "dog" / "LOUD.JPEG").write_bytes(b"")
    for split, listing in read(root).items():
        reference = ImageFolder(str(root / split))
        assert list(zip(listing.names, listing.labels.tolist(), strict=True)) == reference.samples
        assert listing.labels.dtype == np.int64


def test_non_ascii_names(make_tree):
    root = make_tree()
    names = ("Übergrößenträger.png", "写真.png")
    for name in names:
        shutil.copy(root / "train" / "cat" / "000.png", root / "train" / "cat" / name)
    assert {path.rsplit("/", 1)[1] for path in read(root)["train"].names} > set(names)


def test_hidden_files_and_folders_are_ignored(make_tree):
    root = make_tree()
    before = list(read(root)["train"].names)
    (root / "train" / "cat" / "._000.png").write_bytes(b"left by another system")
    (root / "train" / ".ipynb_checkpoints").mkdir()
    assert list(read(root)["train"].names) == before


@pytest.mark.parametrize("missing", [".", "train", "val"])
def test_a_missing_folder_names_the_command(make_tree, one_line, missing):
    root = make_tree()
    shutil.rmtree(root / missing)
    with pytest.raises(UserError) as error:
        read(root)
    folder = root / ("train" if missing == "." else missing)
    assert one_line(error) == f"{folder}: No such file or directory: run prepare.py"


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_class_folder_without_images(make_tree, one_line, split):
    root = make_tree()
    folder = root / split / "dog"
    for path in folder.iterdir():
        path.unlink()
    (folder / "images").mkdir()  # as in the archive of Tiny ImageNet
    with pytest.raises(UserError) as error:
        read(root)
    assert one_line(error) == f"{folder}: a class folder without images: run prepare.py"


def test_the_number_of_classes(make_tree, one_line):
    root = make_tree()
    with pytest.raises(UserError) as error:
        read(root, classes=1000)
    assert one_line(error) == f"data.classes=1000: {root / 'train'} has 2 class folders; accepted: 2"


@pytest.mark.parametrize(
    ("change", "extra", "lacking"), [("add", "val/fish", "train"), ("rename", "train/dog", "val")]
)
def test_validation_classes_that_differ_from_the_training_classes(
    make_tree, one_line, change, extra, lacking
):
    root = make_tree()
    dog = root / "val" / "dog"
    if change == "add":
        shutil.copytree(dog, root / "val" / "fish")
    else:
        dog.rename(root / "val" / "hound")
    with pytest.raises(UserError) as error:
        read(root)
    assert one_line(error).startswith(f"{root / extra}: no such class folder in {root / lacking}")
