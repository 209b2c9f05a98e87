"""Photometric distortion against torchvision, and lighting noise against AlexNet's formula."""

from itertools import permutations
from statistics import NormalDist

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from bn.data.draws import uniform
from bn.data.photometric import DRAWS, MEAN, STD, distort, lighting, normalize

ALMOST_1 = 1 - 2.0**-53
SPREAD = {"reduced": 0.2, "googlenet": 0.5}
CHANGES = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)

# fb.resnet.torch's constants, for images in 0..1: eigenvalues, and one eigenvector per column
VALUES = [0.2175, 0.0188, 0.0045]
VECTORS = [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]


def random_images(count, size=12, seed=0):
    """Noise of all contrasts, partly black and white, so that clamping matters."""
    noise = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))
    return (128 + noise * torch.linspace(5, 200, count)[:, None, None, None]).clamp(0, 255)


def draws(count, seed=0):
    return uniform(seed, 0, np.arange(count), DRAWS)


def unchanged(count):
    """Factors of 1 and no lighting noise: the normal quantile of 1/2 is 0."""
    return np.full((count, DRAWS), 0.5)


def noise_of(u):
    """The formula of AlexNet's paper, in 0..255."""
    alpha = [0.1 * NormalDist().inv_cdf(p) for p in u]
    return [255 * sum(VECTORS[c][k] * alpha[k] * VALUES[k] for k in range(3)) for c in range(3)]


def one_by_one(images, u, strength):
    out = []
    for image, (*of_factors, of_order, light_1, light_2, light_3) in zip(
        images.double(), u.tolist(), strict=True
    ):
        image = image / 255
        for k in list(permutations(range(3)))[int(of_order * 6)]:
            image = CHANGES[k](image, 1 - SPREAD[strength] + 2 * SPREAD[strength] * of_factors[k])
        image = image * 255
        if strength == "googlenet":
            image = (image + torch.tensor(noise_of([light_1, light_2, light_3]))[:, None, None]).clamp(0, 255)
        out.append(image)
    return torch.stack(out)


@pytest.mark.parametrize("strength", SPREAD)
def test_a_batch_is_distorted_like_torchvision(strength):
    images, u = random_images(120), draws(120)
    assert set((u[:, 3] * 6).astype(int)) == set(range(6))
    before = images.clone()
    ours = distort(images, u, strength)
    assert images.equal(before)
    assert (ours.shape, ours.dtype) == (images.shape, torch.float32)
    torch.testing.assert_close(ours.double(), one_by_one(images, u, strength), atol=1e-3, rtol=0)


@pytest.mark.parametrize("strength", SPREAD)
def test_the_order_matters_and_each_example_has_its_own(strength):
    """The six orders give different results for one image, and are equally likely."""
    image = random_images(8)[-1:].repeat(6, 1, 1, 1)
    u = np.tile([0.9, 0.05, 0.95, 0, 0.5, 0.5, 0.5], (6, 1))
    u[:, 3] = np.arange(6) / 6 + 1e-9
    six = distort(image, u, strength)
    assert torch.pdist(six.flatten(1)).min() > 1
    u[:, 3] = np.append(np.arange(1, 6) / 6 - 1e-9, ALMOST_1)
    assert distort(image, u, strength).equal(six)


@pytest.mark.parametrize("strength", SPREAD)
@pytest.mark.parametrize(("end", "sign"), [(0.0, -1), (ALMOST_1, 1)])
def test_the_range_of_each_factor(strength, end, sign):
    """Measured by the effect of each distortion alone on a red square in a gray image."""
    factor = 1 + sign * SPREAD[strength]
    image = torch.full((1, 3, 2, 2), 60.0)
    image[:, :, 0, 0] = torch.tensor([90.0, 60.0, 60.0])
    gray = 60 + 30 * 0.2989
    mean = 60 + 30 * 0.2989 / 4
    expected = {0: factor * 90, 1: mean + factor * (90 - mean), 2: gray + factor * (90 - gray)}
    for change, red in expected.items():
        u = unchanged(1)
        u[0, change] = end
        assert distort(image, u, strength)[0, 0, 0, 0].item() == pytest.approx(red, abs=0.02)


def test_none_changes_nothing():
    images = random_images(3)
    assert distort(images, draws(3), "none") is images


@pytest.mark.parametrize("strength", SPREAD)
def test_results_stay_within_0_to_255(strength):
    ours = distort(random_images(300), draws(300), strength)
    assert ours.min() == 0
    assert ours.max() == 255


@pytest.mark.parametrize("strength", SPREAD)
def test_the_rest_of_the_batch_does_not_matter(strength):
    images, u = random_images(20), draws(20)
    together = distort(images, u, strength)
    alone = torch.cat([distort(images[i : i + 1], u[i : i + 1], strength) for i in range(20)])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)


def test_lighting_adds_one_color_to_the_whole_image():
    u = unchanged(50)
    u[:, 4:] = uniform(0, 0, np.arange(50), 3)
    images = torch.full((50, 3, 4, 4), 100.0)
    added = distort(images, u, "googlenet") - images
    expected = torch.tensor([noise_of(row) for row in u[:, 4:].tolist()])
    torch.testing.assert_close(added, expected[..., None, None].expand_as(added), atol=1e-4, rtol=0)
    assert distort(images, u, "reduced").sub(images).abs().max() < 1e-4


def test_lighting_has_the_principal_axes():
    """The covariance of n normals has a relative error of about sqrt(2 / n)."""
    n = 100_000
    noise = lighting(uniform(0, 0, np.arange(n), 3))
    vectors = np.array(VECTORS)
    assert np.abs(vectors.T @ vectors - np.eye(3)).max() < 1e-3
    along = noise @ vectors
    std = 0.1 * 255 * np.array(VALUES)
    assert np.abs(along.mean(0) / std).max() < 5 / n**0.5
    correlation = along.T @ along / n / np.outer(std, std)
    assert np.abs(correlation - np.eye(3)).max() < 0.03


def test_no_number_gives_an_infinite_color():
    assert np.isfinite(lighting(np.array([[0.0, 0.5, ALMOST_1]]))).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normalization_per_channel(dtype):
    assert (MEAN, STD) == ((128.0, 117.0, 104.0), 58.0)
    images = random_images(2).to(dtype)
    ours = normalize(images)
    assert ours.dtype == dtype
    for channel, mean in enumerate((128, 117, 104)):
        torch.testing.assert_close(ours[:, channel], (images[:, channel] - mean) / 58)
