"""Mini-batches of both loaders against torchvision."""

import numpy as np
import pytest
import torch
from torchvision.datasets import ImageFolder
from torchvision.transforms.v2 import functional as TF

from bn.data.crops import random_boxes
from bn.data.draws import draws
from bn.data.order import ImageOrder
from bn.data.photometric import distort
from bn.errors import UserError
from tests.data.made import encoded, smooth

MEAN, STD = torch.tensor([128.0, 117.0, 104.0])[:, None, None], 58.0


@pytest.mark.parametrize("strength", ["none", "googlenet"])
@pytest.mark.parametrize("feed", ["resident", "stream"])
def test_a_mini_batch_matches_torchvision_image_by_image(make_tree, opened, feed, strength):
    root = make_tree()
    folder = ImageFolder(str(root / "train"))
    images = opened(root, batch=6, seed=3, feed=feed, distortion=strength)
    mirrored = 0
    for n in (0, 1, 5):
        epoch, examples = ImageOrder(16, 6, 3, "complete", 4)(n)
        batch = images.batch(n)
        assert batch.labels.tolist() == [folder.targets[i] for i in examples]
        assert batch.images.dtype == torch.float32
        for image, example in zip(batch.images, examples, strict=True):
            drawn = draws(3, epoch, np.array([example]))
            (box,) = random_boxes(drawn.box, np.array([32]), np.array([32]), 0.08, 4 / 3)
            original = TF.pil_to_tensor(folder[example][0]).float()
            top, left, height, width = box.tolist()
            expected = TF.resized_crop(original, top, left, height, width, [28, 28], antialias=True)
            if drawn.mirror[0] < 0.5:
                expected = TF.horizontal_flip(expected)
                mirrored += 1
            expected = (distort(expected[None], drawn.color, strength)[0] - MEAN) / STD
            # The stream rounds to whole levels after each direction; strong distortion multiplies the error.
            rounded = 0 if feed == "resident" else {"none": 1.01, "googlenet": 4}[strength]
            assert (image - expected).abs().max() * STD < rounded + 2e-3
    assert 3 < mirrored < 15


@pytest.mark.parametrize("crop", [28, 27])
@pytest.mark.parametrize("feed", ["resident", "stream"])
def test_validation_crops_each_image_once_in_order(make_tree, opened, monkeypatch, feed, crop):
    root = make_tree(val=5)
    monkeypatch.setattr("bn.data.images.VALIDATION_BATCH", 4)
    batches = list(opened(root, feed=feed, crop=crop).validation())
    assert [len(batch.labels) for batch in batches] == [4, 4, 2]
    folder = ImageFolder(str(root / "val"))
    found = torch.cat([batch.images for batch in batches]) * STD + MEAN
    expected = torch.stack([TF.center_crop(TF.pil_to_tensor(image), [crop, crop]) for image, _ in folder])
    assert torch.allclose(found, expected.float(), atol=1e-3)
    assert torch.cat([batch.labels for batch in batches]).tolist() == folder.targets


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_image_of_another_size_is_named(make_tree, opened, one_line, split):
    root = make_tree()
    path = sorted((root / split / "dog").iterdir())[1]
    path.write_bytes(encoded(smooth(9, 40, 50)))
    with pytest.raises(UserError) as error:
        opened(root)
    assert one_line(error).startswith(f"{path}: 50x40 pixels, data.resize=32: ")
    assert "data.feed=stream" in str(error.value)
    assert opened(root, feed="stream").batch(0).images.shape == (4, 3, 28, 28)
