"""Crops of photographs decoded the fast way, against torchvision's exact way."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as TF

from benchmarks.photographs import jpeg_file, photograph
from bn.data.crops import BOX_DRAWS, central_box, random_boxes
from bn.data.draws import uniform
from bn.data.jpeg import open_picture
from bn.data.resize import central_crop, random_crop

SIZE = 224


@pytest.fixture(scope="module", params=[(375, 500), (900, 1200)], ids=["375x500", "900x1200"])
def photo(request, tmp_path_factory):
    """A picture, and the same decoded by PIL, (3, H, W) float."""
    content = jpeg_file(photograph(3, *request.param))
    path = tmp_path_factory.mktemp("photo") / "photo.jpg"
    path.write_bytes(content)
    whole = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    return open_picture(str(path)), torch.from_numpy(whole.copy()).permute(2, 0, 1).float()


def difference(a, b):
    """Mean absolute, and the peak signal to noise ratio in dB."""
    d = a.double() - b.double()
    return d.abs().mean().item(), (20 * np.log10(255) - 10 * d.square().mean().log10()).item()


def resized_crop(whole, box, size):
    """torchvision's."""
    top, left, height, width = box.tolist()
    return TF.resized_crop(whole, top, left, height, width, [size, size], antialias=True)


def crops(photo, count):
    """(box, what is made of it, torchvision's, the reduction of the decoding)"""
    picture, whole = photo
    heights, widths = (np.full(count, side) for side in picture.size)
    boxes = random_boxes(uniform(0, 0, np.arange(count), BOX_DRAWS), heights, widths, 0.08, 4 / 3)
    for box in boxes:
        exact = resized_crop(whole, box, SIZE)
        _, reduction = picture.pixels(box[2:].min() / SIZE)
        yield box, random_crop(picture, box, SIZE), exact, reduction


def test_random_crops_are_torchvisions_within_rounding_or_within_what_scaled_decoding_implies(photo):
    """Measured: at full scale 0.3 levels of 255, 57 dB, which is rounding; at half 0.6 to 2, 40 to 50 dB."""
    reductions = set()
    for box, crop, exact, reduction in crops(photo, 10):
        assert crop.shape == (3, SIZE, SIZE)
        assert crop.dtype == torch.uint8
        assert reduction == (2 if box[2:].min() >= 2 * SIZE else 1)
        mean, psnr = difference(crop, exact)
        if reduction == 1:
            assert (crop - exact).abs().max() <= 1.01
            assert mean < 0.35
        else:
            assert mean < 2.4
            assert psnr > 39
        reductions.add(reduction)
    assert reductions == ({1} if photo[0].size == (375, 500) else {1, 2})


def test_a_crop_beside_the_right_place_would_be_seen(photo):
    """What the bounds above are worth: one pixel of the file, half of one where it is decoded at half."""
    picture, whole = photo
    height, width = picture.size
    box = np.array([5, 6, height - 20, width - 20])
    aside = TF.resized_crop(whole, 6, 7, height - 20, width - 20, [SIZE, SIZE], antialias=True)
    mean, psnr = difference(random_crop(picture, box, SIZE), aside)
    assert mean > 2.4
    assert psnr < 39


def test_a_quarter_and_an_eighth(tmp_path):
    """Few pixels of many: the crop that the network sees is a fifth and a tenth of the file's resolution."""
    picture, whole = photo_of(tmp_path, 600, 800)
    for size, reduction in ((120, 4), (60, 8)):
        box = np.array([33, 51, 517, 601])
        assert picture.pixels(517 / size)[1] == reduction
        exact = resized_crop(whole, box, size)
        mean, psnr = difference(random_crop(picture, box, size), exact)
        assert mean < 2
        assert psnr > 38


def photo_of(folder, height, width):
    content = jpeg_file(photograph(5, height, width))
    (folder / "photo.jpg").write_bytes(content)
    whole = np.array(Image.open(io.BytesIO(content)).convert("RGB"))
    return open_picture(str(folder / "photo.jpg")), torch.from_numpy(whole).permute(2, 0, 1).float()


def test_the_central_crop_is_torchvisions_within_rounding_at_any_size(photo):
    picture, whole = photo
    exact = TF.center_crop(TF.resize(whole, [256], antialias=True), [SIZE, SIZE])
    crop = central_crop(picture, central_box(picture.size[0], picture.size[1], 256, SIZE), SIZE)
    assert (crop - exact).abs().max() <= 1.01
    assert difference(crop, exact)[0] < 0.35
