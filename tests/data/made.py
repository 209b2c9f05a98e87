"""Images and image files for the tests."""

import io

import numpy as np
from PIL import Image

SIDE = 32


def smooth(seed, height=SIDE, width=SIDE):
    """(height, width, 3) uint8 blobs of color: neighboring pixels are similar, as in photographs."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def encoded(pixels, kind="png", **options):
    content = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(content, kind, **options)
    return content.getvalue()
