"""Small trees of image files."""

import pytest
import torch

from bn.config import ImageData
from bn.data.image_files import open_image
from bn.data.images import Plan, open_loader
from tests.data.made import SIDE, encoded, smooth


@pytest.fixture
def make_tree(tmp_path):
    """`make_tree(train=8, val=3)`: a tree {train,val}/{cat,dog}/*.png with this many images per class."""

    def make(train=8, val=3, kind="png", size=lambda i: (SIDE, SIDE), name="tree"):
        root, i = tmp_path / name, 0
        for split, count in (("train", train), ("val", val)):
            for of in ("cat", "dog"):
                folder = root / split / of
                folder.mkdir(parents=True)
                for _ in range(count):
                    (folder / f"{i:03}.{kind}").write_bytes(encoded(smooth(i, *size(i)), kind))
                    i += 1
        return root

    return make


@pytest.fixture
def read(tmp_path):
    """The pixels of a file with this content."""

    def pixels(content, name="image"):
        path = tmp_path / name
        path.write_bytes(content)
        image = open_image(str(path))
        found = image.pixels()
        assert found.shape == (*image.size, 3)
        return found

    return pixels


@pytest.fixture
def image_data():
    def make(root="", **changes):
        values = {
            "name": "tiny_imagenet", "root": str(root), "classes": 2, "resize": SIDE, "crop": 28,
            "area": 0.08, "aspect": 4 / 3, "distortion": "none", "shuffle": "complete", "shard_size": 4,
            "feed": "resident", "workers": 0,
        }  # fmt: skip
        return ImageData(**{**values, **changes})

    return make


@pytest.fixture
def opened(image_data):
    """`opened(root, batch=4, feed="stream")`: a loader of a tree, closed after the test."""
    made = []

    def make(root="", *, batch=4, seed=0, first=0, steps=100, rank=0, ranks=1, **changes):
        made.append(
            open_loader(
                image_data(root, **changes), Plan(steps, batch, seed, first, rank, ranks), torch.device("cpu")
            )
        )  # fmt: skip
        return made[-1]

    yield make
    for images in made:
        images.close()


@pytest.fixture
def one_line():
    """The message of a caught UserError, checked to be one line."""

    def read(caught):
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return read
