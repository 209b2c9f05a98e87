"""The 144 crops against GoogLeNet's description, computed directly with torchvision."""

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from bn.evaluate.crops import CROPS, boxes, multicrop, scales

SHAPES = {"landscape": (45, 61), "portrait": (83, 40), "square": (48, 48), "panorama": (33, 200)}
PAPER = {"landscape": (375, 500), "portrait": (500, 333), "square": (256, 256)}


def random_image(height, width):
    """Noise smoothed over a few pixels, so that all crops differ and an error of one pixel shows."""
    noise = torch.rand(1, 3, -(-height // 4), -(-width // 4), generator=torch.Generator().manual_seed(0))
    grown = torch.nn.functional.interpolate(noise, (height, width), mode="bilinear")
    return (grown[0] * 255).round().byte()


def direct(image, resize, crop):
    """Section 7, one crop at a time: 4 scales, 3 squares, (4 corners, center, whole), mirrored."""
    image = image.float()
    unmirrored = []
    for shorter in [resize * 8 // 8, resize * 9 // 8, resize * 10 // 8, resize * 11 // 8]:
        resized = tv.resize(image, [shorter], antialias=True)
        height, width = resized.shape[1:]
        if width >= height:
            thirds = [
                resized[:, :, :shorter],
                v2.CenterCrop(shorter)(resized),
                resized[:, :, width - shorter :],
            ]
        else:
            thirds = [resized[:, :shorter], v2.CenterCrop(shorter)(resized), resized[:, height - shorter :]]
        for third in thirds:
            unmirrored += [*v2.FiveCrop(crop)(third), tv.resize(third, [crop, crop], antialias=True)]
    return torch.stack([*unmirrored, *(tv.horizontal_flip(one) for one in unmirrored)])


@pytest.mark.parametrize("shape", SHAPES)
def test_the_crops_equal_a_direct_computation(shape):
    image = random_image(*SHAPES[shape])
    crops = multicrop(image, 32, 28)
    assert crops.shape == (CROPS, 3, 28, 28)
    assert crops.dtype == torch.float32
    torch.testing.assert_close(crops, direct(image, 32, 28), rtol=0, atol=1e-3)


@pytest.mark.parametrize("shape", PAPER)
def test_the_crops_at_the_papers_sizes(shape):
    image = random_image(*PAPER[shape])
    torch.testing.assert_close(multicrop(image, 256, 224), direct(image, 256, 224), rtol=0, atol=1e-3)


def test_the_papers_scales():
    assert scales(375, 500, 256) == [(256, 341), (288, 384), (320, 426), (352, 469)]
    assert scales(500, 333, 256) == [(384, 256), (432, 288), (480, 320), (528, 352)]
    assert scales(64, 64, 64) == [(64, 64), (72, 72), (80, 80), (88, 88)]


def test_the_boxes_of_a_landscape_and_a_portrait():
    """256x341 at 224: squares at 0, 42 (half of 85, to even) and 85; corners at 0 and 32, center at 16."""
    offsets = [(0, 0), (0, 32), (32, 0), (32, 32), (16, 16)]
    expected = []
    for start in (0, 42, 85):
        expected += [(down, start + right, 224) for down, right in offsets] + [(0, start, 256)]
    assert boxes(256, 341, 224) == expected
    assert boxes(341, 256, 224) == [
        (top, left, side)
        for start in (0, 42, 85)
        for top, left, side in [*((start + down, right, 224) for down, right in offsets), (start, 0, 256)]
    ]


@pytest.mark.parametrize("shape", SHAPES)
def test_all_boxes_are_inside_the_image(shape):
    for height, width in scales(*SHAPES[shape], 32):
        for top, left, side in boxes(height, width, 28):
            assert 0 <= top <= height - side
            assert 0 <= left <= width - side


@pytest.mark.parametrize(("shape", "distinct"), [("landscape", 144), ("portrait", 144), ("square", 48)])
def test_the_number_of_distinct_crops(shape, distinct):
    """All 144, except for a square image, whose left, center and right squares coincide."""
    crops = multicrop(random_image(*SHAPES[shape]), 32, 28)
    assert len(torch.unique(crops.flatten(1), dim=0)) == distinct


def test_mirrored_pairs():
    crops = multicrop(random_image(45, 61), 32, 28)
    assert torch.equal(crops[72:], crops[:72].flip(-1))
    assert not torch.equal(crops[72:], crops[:72])


def test_a_crop_that_does_not_fit():
    with pytest.raises(ValueError, match="a crop of 33 does not fit into 32x40"):
        boxes(32, 40, 33)
