"""Generated stand-ins for ImageNet's photographs, similar in size, detail and JPEG size.

"Dead leaves" (overlapping ellipses of all sizes, each with its own color and texture) give the edges of
natural images, noise with a 1/f spectrum their texture, and a little white noise the camera's grain. At
quality 93 with halved chroma, an image of 500x375 takes about 110 KB, as in ImageNet.
"""

import io

import numpy as np
from PIL import Image

LEAVES = 80
QUALITY = 93


def photograph(seed: int, height: int = 375, width: int = 500) -> np.ndarray:
    """(height, width, 3) uint8."""
    draw = np.random.default_rng(seed)
    texture = _noise(draw, height, width)
    image = np.full((height, width, 3), 110.0)
    for _ in range(LEAVES):
        radius = height * min(0.4, 0.03 * draw.uniform(0.01, 1) ** -0.6)  # many small ones, few large ones
        flatness, angle = draw.uniform(0.4, 1), draw.uniform(0, np.pi)
        y, x = draw.uniform(0, height), draw.uniform(0, width)
        window = tuple(slice(max(0, int(at - radius)), int(at + radius) + 1) for at in (y, x))
        rows, columns = np.ogrid[:height, :width]
        dy, dx = rows[window[0]] - y, columns[:, window[1]] - x
        along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
        inside = along**2 + (across / flatness) ** 2 < radius**2
        color = draw.uniform(20, 235) + draw.normal(0, 30, 3)
        image[window][inside] = color + draw.uniform(2, 25) * texture[window][inside, None]
    image += 22 * _noise(draw, height, width)[..., None]
    image += 6 * np.stack([_noise(draw, height, width) for _ in range(3)], 2)
    image += 4 * draw.standard_normal((height, width, 1))
    return image.clip(0, 255).astype(np.uint8)


def jpeg_file(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "jpeg", quality=QUALITY, subsampling="4:2:0")
    return content.getvalue()


def _noise(draw: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(height, width): amplitude 1/f, mean 0, variance 1."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(draw.standard_normal((height, width))) / frequency
    noise = np.fft.irfft2(spectrum, (height, width))
    return noise / noise.std()
