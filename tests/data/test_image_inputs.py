"""Input transformations for image networks."""

import dataclasses
from typing import cast

import numpy as np
import pytest
import torch

from bn.cli import planned_run
from bn.config import ImageData
from bn.config.choices import IMAGE_INPUTS, load
from bn.data import image_inputs
from bn.data.datasets import ArrayDataset
from bn.data.image_inputs import apply_inputs
from bn.data.images import find_datasets
from bn.data.seeds import generator
from bn.data.tree import Split
from bn.errors import UserError

DATA = cast(ImageData, planned_run(["experiment=bn_x5", "scale=smoke"]).config.data)
IMAGES = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(3))
DRAWS = generator(0, "test")


def seen(inputs: str, split: Split = "val") -> np.ndarray:
    found = find_datasets(dataclasses.replace(DATA, inputs=inputs))[split]
    assert isinstance(found, ArrayDataset)
    return found.images


@pytest.mark.parametrize("name", IMAGE_INPUTS)
def test_shape_and_type(name):
    found = load(IMAGE_INPUTS[name])(IMAGES, DRAWS)
    assert (found.shape, found.dtype) == (IMAGES.shape, torch.float32)
    assert (seen(name).shape, seen(name).dtype) == ((500, 3, 32, 32), np.uint8)


def test_original_images_are_unchanged_and_names_are_kept():
    dataset = find_datasets(DATA)["val"]
    assert apply_inputs(dataset, "val", DATA) is dataset
    assert find_datasets(dataclasses.replace(DATA, inputs="noisy"))["val"].names == dataset.names


def test_inverted_and_low_contrast():
    original = seen("original").astype(int)
    assert np.array_equal(seen("inverted"), 255 - original)
    np.testing.assert_allclose(seen("low_contrast"), 127.5 + 0.4 * (original - 127.5), atol=0.51)


def test_shifted():
    original, moved = seen("original"), seen("shifted")
    assert np.array_equal(moved[..., 4:, 4:], original[..., :28, :28])
    assert not moved[..., :4, :].any()
    assert not moved[..., :4].any()


def test_blurred():
    point = torch.zeros(2, 3, 32, 32)
    point[0, 1, 16, 16] = 1
    found = image_inputs.blurred(point, DRAWS)
    assert found[0, 1].sum() == pytest.approx(1, abs=1e-5)
    assert found.sum() == pytest.approx(1, abs=1e-5)
    assert found[0, 1, 16, 17] / found[0, 1, 16, 16] == pytest.approx(np.exp(-0.5), rel=1e-4)


def test_noise_is_reproducible_for_any_chunk_size_and_differs_between_splits(monkeypatch):
    noisy = seen("noisy")
    monkeypatch.setattr(image_inputs, "CHUNK", 77)
    assert np.array_equal(seen("noisy"), noisy)
    inner = (seen("original") > 100) & (seen("original") < 155)  # not clipped
    noise = (noisy.astype(float) - seen("original"))[inner] / 255
    assert noise.std() == pytest.approx(0.1, rel=0.02)
    assert noise.mean() == pytest.approx(0, abs=0.001)
    train = seen("noisy", "train")[:500].astype(float) - seen("original", "train")[:500]
    assert abs(np.corrcoef(train.flatten(), (noisy.astype(float) - seen("original")).flatten())[0, 1]) < 0.01


def test_held_out_images_are_transformed_too():
    data = dataclasses.replace(DATA, inputs="inverted", validation=300)
    for split, original in find_datasets(dataclasses.replace(data, inputs="original")).items():
        found = find_datasets(data)[split]
        assert torch.equal(found[7], 255 - original[7])
        assert found.names == original.names


def test_a_tree_of_images_must_have_the_size_data_resize(make_tree, opened):
    root = make_tree()
    for feed in ("resident", "stream"):
        batches = [next(opened(root, feed=feed, inputs=name).validation()) for name in IMAGE_INPUTS]
        assert not any(torch.equal(batches[0].images, batch.images) for batch in batches[1:])
    with pytest.raises(UserError, match=r"32x32 pixels, data\.resize=30"):
        opened(root, feed="stream", inputs="blurred", resize=30, crop=28)
