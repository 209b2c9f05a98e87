"""Random boxes and batched resizing against torchvision."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from bn.data.crops import BOX_DRAWS, central_box, crop_and_resize, random_boxes
from bn.data.draws import uniform
from bn.data.photometric import DRAWS, distort, normalize


def boxes_of(count, height, width, area=0.08, aspect=4 / 3):
    u = uniform(0, 0, np.arange(count), BOX_DRAWS)
    return random_boxes(u, np.full(count, height), np.full(count, width), area, aspect)


def random_images(count, height, width, seed=0):
    noise = torch.randint(0, 256, (count, 3, height, width), generator=torch.Generator().manual_seed(seed))
    return noise.to(torch.uint8)


def far_from_uniform(values):
    """Kolmogorov-Smirnov statistic times sqrt(n), above 2.3 in one of 20,000 uniform samples."""
    values, n = np.sort(values), len(values)
    steps = np.arange(n + 1) / n
    return max(np.abs(values - steps[1:]).max(), np.abs(values - steps[:-1]).max()) * n**0.5


# Boxes


@pytest.mark.parametrize(("area", "aspect"), [(0.08, 4 / 3), (0.5, 2.0), (1.0, 4 / 3), (0.08, 1.0)])
@pytest.mark.parametrize(
    "shape", [(64, 64), (375, 500), (500, 333), (20, 500), (500, 20), (7, 9), (3, 2), (1, 1), (1, 7)]
)
def test_torchvision_draws_the_same_boxes_from_the_same_numbers(monkeypatch, shape, area, aspect):
    """Runs torchvision's code with our random numbers, including retries and the fallback."""
    theirs = v2.RandomResizedCrop(8, (area, 1.0), (1 / aspect, aspect))
    height, width = shape
    ours = boxes_of(100, height, width, area, aspect)
    monkeypatch.setattr(
        torch.Tensor, "uniform_", lambda self, low, high: self.fill_(low + (high - low) * next(sizes))
    )
    monkeypatch.setattr(
        torch, "randint", lambda low, high, size: torch.tensor(int(low + (high - low) * next(places)))
    )
    for u, box in zip(uniform(0, 0, np.arange(100), BOX_DRAWS), ours, strict=True):
        sizes, places = iter(u[:20].reshape(2, 10).T.ravel()), iter(u[20:])
        drawn = theirs.make_params([torch.empty(3, height, width)])
        assert box.tolist() == [drawn[name] for name in ("top", "left", "height", "width")]


def test_boxes_of_images_of_all_shapes_are_inside():
    u = uniform(5, 0, np.arange(20_000), BOX_DRAWS + 2)
    heights, widths = (1 + u[:, -2:] ** 3 * 600).astype(np.int64).T
    boxes = random_boxes(u[:, :BOX_DRAWS], heights, widths, 0.08, 4 / 3)
    top, left, height, width = boxes.T
    assert boxes.dtype == np.int64
    assert np.all((top >= 0) & (left >= 0) & (height >= 1) & (width >= 1))
    assert np.all((top + height <= heights) & (left + width <= widths))
    rows = [slice(i, i + 1) for i in range(50)]
    alone = [random_boxes(u[row, :BOX_DRAWS], heights[row], widths[row], 0.08, 4 / 3)[0] for row in rows]
    assert np.array_equal(boxes[:50], alone)


def test_area_and_aspect_are_uniform_where_every_box_fits():
    """In a square, boxes of up to 3/4 of the area fit at every ratio; larger ones may be redrawn."""
    side = 4000  # large, so that rounding to pixels is negligible
    top, left, height, width = boxes_of(20_000, side, side).T
    share = height * width / side**2
    assert 0.0799 < share.min() < 0.081
    assert share.max() > 0.97
    ratio = width / height
    assert 0.749 < ratio.min() < 0.7505
    assert 1.3325 < ratio.max() < 1.3345
    fits = share <= 0.75
    assert far_from_uniform((share[fits] - 0.08) / (0.75 - 0.08)) < 2.3
    assert far_from_uniform(np.log(ratio[fits]) / np.log(16 / 9) + 0.5) < 2.3
    assert far_from_uniform(top / (side - height + 1)) < 2.3
    assert far_from_uniform(left / (side - width + 1)) < 2.3
    u = [share, np.log(ratio), top / (side - height + 1), left / (side - width + 1)]
    correlation = np.corrcoef(np.array(u)[:, fits])
    assert np.abs(correlation - np.eye(4)).max() < 5 / fits.sum() ** 0.5


# Resizing


def by_torchvision(images, boxes, size):
    """Resize image by image."""
    return torch.stack(
        [
            F.resized_crop(image, top, left, height, width, [size, size], antialias=True)
            for image, (top, left, height, width) in zip(images, boxes.tolist(), strict=True)
        ]
    )


RESIZED = [
    (64, 64, 56),
    (40, 40, 32),
    (32, 32, 28),
    (97, 131, 17),
    (131, 97, 33),
    (23, 31, 56),
    (200, 300, 24),
    (9, 5, 1),
    (1, 1, 3),
]


@pytest.mark.parametrize(("height", "width", "size"), RESIZED)
def test_a_batch_is_resized_like_torchvision(height, width, size):
    images = random_images(16, height, width)
    boxes = boxes_of(16, height, width)
    boxes[0] = 0, 0, height, width
    ours = crop_and_resize(images, boxes, np.zeros(16, bool), size)
    assert (ours.shape, ours.dtype) == ((16, 3, size, size), torch.float32)
    exact = by_torchvision(images.double(), boxes, size)
    torch.testing.assert_close(ours.double(), exact, atol=1e-4, rtol=0)
    torch.testing.assert_close(
        ours, by_torchvision(images.float(), boxes, size), atol=2e-3, rtol=0
    )  # torchvision rounds more


def test_an_image_of_the_right_size_is_unchanged():
    images = random_images(4, 31, 31)
    whole = np.tile([0, 0, 31, 31], (4, 1))
    assert crop_and_resize(images, whole, np.zeros(4, bool), 31).equal(images.float())


@pytest.mark.parametrize(("height", "width", "size"), RESIZED)
def test_mirrored_crops_are_flipped(height, width, size):
    images = random_images(16, height, width)
    boxes = boxes_of(16, height, width)
    mirrored = np.arange(16) % 3 == 0
    plain = crop_and_resize(images, boxes, np.zeros(16, bool), size)
    ours = crop_and_resize(images, torch.from_numpy(boxes), torch.from_numpy(mirrored), size)
    expected = torch.where(torch.from_numpy(mirrored)[:, None, None, None], plain.flip(3), plain)
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=0)


def test_an_empty_batch_gives_no_crops():
    nothing = crop_and_resize(random_images(0, 9, 9), np.empty((0, 4)), np.empty(0, bool), 5)
    assert nothing.shape == (0, 3, 5, 5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_on_a_gpu_crops_and_colors_are_the_same_without_synchronizing(no_waiting):
    images, mirrored = random_images(64, 64, 64), np.arange(64) % 2 == 0
    boxes, u = boxes_of(64, 64, 64), uniform(0, 0, np.arange(64), DRAWS)
    on_gpu = images.cuda()
    with no_waiting():
        ours = normalize(distort(crop_and_resize(on_gpu, boxes, mirrored, 56), u, "googlenet"))
    expected = normalize(distort(crop_and_resize(images, boxes, mirrored, 56), u, "googlenet"))
    torch.testing.assert_close(ours.cpu(), expected, atol=1e-4, rtol=0)


# Validation crops

CENTRAL = [
    (64, 64, 64, 56), (375, 500, 256, 224), (500, 375, 256, 224), (333, 500, 256, 224), (65, 97, 64, 56),
    (97, 65, 40, 33), (40, 41, 64, 56), (31, 100, 32, 32), (32, 32, 32, 28),
]  # fmt: skip


@pytest.mark.parametrize(("height", "width", "resize", "crop"), CENTRAL)
def test_the_central_box_matches_torchvisions_resize_and_center_crop(height, width, resize, crop):
    (image,) = random_images(1, height, width)
    top, left, tall, wide = central_box(height, width, resize, crop).tolist()
    both = v2.Compose([v2.Resize(resize, antialias=True), v2.CenterCrop(crop)])
    for ours, theirs in zip(image.numpy().astype(np.float32), both(image.double()), strict=True):
        box = (left, top, left + wide, top + tall)
        resized = Image.fromarray(ours).resize((crop, crop), Image.Resampling.BILINEAR, box=box)
        np.testing.assert_allclose(np.array(resized), theirs, atol=5e-3, rtol=0)


@pytest.mark.parametrize(("height", "width", "resize", "crop"), CENTRAL)
def test_the_central_box_is_central_within_the_rounding_to_resized_pixels(height, width, resize, crop):
    top, left, tall, wide = central_box(height, width, resize, crop)
    pixel = min(height, width) / resize  # of the resized image
    assert abs(top + tall / 2 - height / 2) <= 0.51 * pixel
    assert abs(left + wide / 2 - width / 2) <= 0.51 * pixel
    for side in (tall, wide):
        assert abs(side / (crop * pixel) - 1) <= 1 / resize


def test_a_crop_larger_than_the_resized_image_is_refused():
    with pytest.raises(ValueError, match="a crop of 65 is larger than the shorter side, 64"):
        central_box(100, 100, 64, 65)
