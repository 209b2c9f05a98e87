"""Input transformations for the MLP."""

import numpy as np
import pytest
import torch

from bn.config.choices import INPUTS, load
from bn.data import inputs
from bn.data.mnist import Examples, Mnist, changed

G = torch.Generator().manual_seed(3)
IMAGES = (torch.rand(300, 784, generator=G) < torch.rand(784, generator=G)).to(torch.uint8)
IMAGES[:, :20] = 0  # constant, like MNIST's borders


@pytest.mark.parametrize("name", INPUTS)
def test_shape_and_type(name):
    found = load(INPUTS[name])(IMAGES)(IMAGES[:7], "test")
    assert found.shape == (7, 784)
    assert found.dtype == torch.float32
    assert found.isfinite().all()


def test_standardized():
    found = inputs.standardized(IMAGES)(IMAGES, "train").numpy()
    columns = IMAGES.numpy().astype(float)
    expected = (columns - columns.mean(0)) / np.sqrt(columns.var(0) + 0.01)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    other = inputs.standardized(IMAGES)(
        1 - IMAGES, "test"
    ).numpy()  # with the statistics of the training images
    np.testing.assert_allclose(
        other, (1 - columns - columns.mean(0)) / np.sqrt(columns.var(0) + 0.01), atol=1e-5
    )


def test_whitened():
    examples = (torch.rand(4000, 784, generator=G) < 0.4).to(torch.uint8)
    examples[:, 1] = examples[:, 0]  # fully correlated
    found = inputs.whitened(examples)(examples, "train").double()
    assert found.mean(0).abs().max() < 1e-4
    covariance = np.cov(examples.numpy().T.astype(float), bias=True)
    values, vectors = np.linalg.eigh(covariance)
    expected = vectors * (values / (values + 0.01)) @ vectors.T  # the identity up to EPS
    np.testing.assert_allclose(found.T @ found / 4000, expected, atol=1e-3)


def test_inverted_and_low_contrast():
    assert torch.equal(inputs.inverted(IMAGES)(IMAGES, "test"), (IMAGES == 0).float())
    low = inputs.low_contrast(IMAGES)(IMAGES, "test")
    torch.testing.assert_close(low, torch.where(IMAGES > 0, 0.7, 0.3))


def test_shifted():
    found = inputs.shifted(IMAGES)(IMAGES, "test").reshape(-1, 28, 28)
    square = IMAGES.float().reshape(-1, 28, 28)
    assert torch.equal(found[:, 3:, 3:], square[:, :25, :25])
    assert not found[:, :3].any()
    assert not found[:, :, :3].any()


def test_blurred():
    point = torch.zeros(1, 784, dtype=torch.uint8)
    point[0, 14 * 28 + 14] = 1
    found = inputs.blurred(IMAGES)(point, "test").reshape(28, 28)
    assert found.sum() == pytest.approx(1, abs=1e-5)
    assert found[14, 15] / found[14, 14] == pytest.approx(np.exp(-0.5), rel=1e-4)
    assert found[15, 15] / found[14, 14] == pytest.approx(np.exp(-1), rel=1e-4)


def test_noise_is_reproducible_and_differs_between_splits():
    noise = inputs.noisy(IMAGES)(IMAGES, "train") - IMAGES
    assert torch.equal(inputs.noisy(IMAGES[:9])(IMAGES, "train") - IMAGES, noise)
    other = inputs.noisy(IMAGES)(IMAGES, "test") - IMAGES
    assert noise.std() == pytest.approx(0.5, rel=0.01)
    assert np.corrcoef(noise.flatten(), other.flatten())[0, 1] == pytest.approx(0, abs=0.01)


def test_each_split_is_transformed_and_keeps_its_labels():
    split = Examples(IMAGES, torch.arange(300))
    data = changed(Mnist(split, None, split), "inverted")
    assert data.validation is None
    for one in (data.train, data.test):
        assert torch.equal(one.images, 1 - IMAGES.float())
        assert torch.equal(one.labels, split.labels)
    assert changed(data, "binary") is data
