"""Crops of single images against torchvision's exact computation in float."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as TF

from benchmarks.photographs import jpeg_file, photograph
from bn.data.crops import BOX_DRAWS, central_box, central_crop, random_boxes, random_crop
from bn.data.draws import uniform
from bn.data.image_files import open_image

SIZE = 224


@pytest.fixture(scope="module", params=[(375, 500), (900, 1200)], ids=["375x500", "900x1200"])
def photo(request, tmp_path_factory):
    """An image file, and its pixels as decoded by PIL, (3, H, W) float."""
    content = jpeg_file(photograph(3, *request.param))
    path = tmp_path_factory.mktemp("photo") / "photo.jpg"
    path.write_bytes(content)
    whole = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    return open_image(str(path)), torch.from_numpy(whole.copy()).permute(2, 0, 1).float()


def difference(a, b):
    """Mean absolute difference, and peak signal-to-noise ratio in dB."""
    d = a.double() - b.double()
    return d.abs().mean().item(), (20 * np.log10(255) - 10 * d.square().mean().log10()).item()


def resized_crop(whole, box, size):
    """torchvision's crop."""
    top, left, height, width = box.tolist()
    return TF.resized_crop(whole, top, left, height, width, [size, size], antialias=True)


def test_random_crops_match_torchvision(photo):
    """Measured: 0.3 levels of 255, 57 dB."""
    image, whole = photo
    heights, widths = (np.full(10, side) for side in image.size)
    boxes = random_boxes(uniform(0, 0, np.arange(10), BOX_DRAWS), heights, widths, 0.08, 4 / 3)
    for box in boxes:
        crop, exact = random_crop(image, box, SIZE), resized_crop(whole, box, SIZE)
        assert crop.shape == (3, SIZE, SIZE)
        assert crop.dtype == torch.uint8
        assert (crop - exact).abs().max() <= 1.01
        assert difference(crop, exact)[0] < 0.35


def test_a_crop_shifted_by_one_pixel_is_detected(photo):
    """The bounds above would detect a shift by one pixel of the file."""
    image, whole = photo
    height, width = image.size
    box = np.array([5, 6, height - 20, width - 20])
    aside = TF.resized_crop(whole, 6, 7, height - 20, width - 20, [SIZE, SIZE], antialias=True)
    mean, psnr = difference(random_crop(image, box, SIZE), aside)
    assert mean > 2.4
    assert psnr < 39


def test_central_crops_match_torchvision_at_any_size(photo):
    image, whole = photo
    exact = TF.center_crop(TF.resize(whole, [256], antialias=True), [SIZE, SIZE])
    crop = central_crop(image, central_box(image.size[0], image.size[1], 256, SIZE), SIZE)
    assert (crop - exact).abs().max() <= 1.01
    assert difference(crop, exact)[0] < 0.35
