"""MNIST is the official data set, binarized as in section 4.1."""

import gzip
import struct

import numpy as np
import pytest
import torch

from bn.data.mnist import load_mnist
from bn.files import REPOSITORY

ROOT = REPOSITORY / "data" / "mnist"
COUNTS = {  # examples of each digit, as published
    "train": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "test": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
}


@pytest.fixture(scope="module")
def mnist():
    return load_mnist(ROOT)


@pytest.fixture(scope="module")
def gray():
    """The gray test images, read according to the IDX header."""
    content = gzip.decompress((ROOT / "t10k-images-idx3-ubyte.gz").read_bytes())
    magic, *shape = struct.unpack(">4i", content[:16])
    assert (magic, shape) == (2051, [10_000, 28, 28])
    return np.frombuffer(content[16:], np.uint8).reshape(10_000, 784)


@pytest.mark.parametrize("name", COUNTS)
def test_the_shapes_and_the_digits(mnist, name):
    split = getattr(mnist, name)
    examples = sum(COUNTS[name])
    assert examples == {"train": 60_000, "test": 10_000}[name]
    assert (tuple(split.images.shape), split.images.dtype) == ((examples, 784), torch.uint8)
    assert (tuple(split.labels.shape), split.labels.dtype) == ((examples,), torch.int64)
    assert split.labels.bincount().tolist() == COUNTS[name]
    assert split.images.unique().tolist() == [0, 1]
    assert 0.1 < split.images.float().mean() < 0.15  # ink


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 128 / 255])
def test_a_pixel_is_1_where_its_gray_exceeds_the_threshold(gray, threshold):
    expected = (gray.astype(np.float64) / 255 > threshold).astype(np.uint8)
    assert np.array_equal(load_mnist(ROOT, threshold).test.images.numpy(), expected)


def test_the_labels_belong_to_the_images(mnist):
    """The nearest mean training image classifies four of five test images."""
    train, test = mnist.train, mnist.test
    means = torch.stack([train.images[train.labels == digit].float().mean(0) for digit in range(10)])
    nearest = torch.cdist(test.images.float(), means).argmin(1)
    assert (nearest == test.labels).float().mean() > 0.75


def test_without_validation_there_is_none(mnist):
    assert mnist.validation is None


@pytest.mark.parametrize("held_out", [1, 10_000, 50_000])
def test_validation_is_the_end_of_the_training_set(mnist, held_out):
    data = load_mnist(ROOT, 0.5, held_out)
    assert data.validation is not None
    assert (len(data.train.labels), len(data.validation.labels)) == (60_000 - held_out, held_out)
    for both, train, validation in zip(mnist.train, data.train, data.validation, strict=True):
        assert torch.equal(torch.cat([train, validation]), both)
    assert torch.equal(data.test.images, mnist.test.images)
