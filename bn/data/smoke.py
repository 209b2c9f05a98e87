"""Generated images, for trying everything within seconds without a data set.

Ten classes of 32x32 RGB gratings: stripes tilted by 0, 22.5, 45, 67.5 or 90 degrees to either side, which
alternate between light and dark or between red and blue. The exact tilt, wavelength, position, background,
contrast and noise are random. Neither a single pixel nor the mean color reveals the class, and the class is
preserved by mirroring, cropping and changes of lighting.
"""

import functools

import numpy as np

CLASSES = 10
SIDE = 32
TRAIN, VALIDATION = 2000, 500


@functools.cache
def smoke_images() -> tuple[np.ndarray, np.ndarray]:
    """The images (2500, 3, 32, 32) uint8, training images first, and the labels (2500,) int64."""
    count = TRAIN + VALIDATION
    draw = np.random.Generator(np.random.PCG64(1502_03167))
    labels = draw.permutation(np.arange(count) % CLASSES)
    tilt = (labels % 5 * 22.5 + draw.normal(0, 4, count)) * draw.choice([-1, 1], count)
    frequency = 2 * np.pi / draw.uniform(4, 8, count)
    phase = draw.uniform(0, 2 * np.pi, count)
    axis = np.array([[1, 1, 1], [1, 0, -1]])[labels // 5] / np.sqrt([[3], [2]])[labels // 5]
    color = axis * draw.uniform(25, 60, (count, 1))
    background = draw.uniform(70, 185, (count, 3))
    noise = draw.standard_normal((count, 1, SIDE, SIDE), dtype=np.float32) * np.float32(25)

    def column(values: np.ndarray) -> np.ndarray:
        return values.astype(np.float32).reshape(count, -1, 1, 1)

    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    tilt = np.deg2rad(tilt)
    wave = np.sin(column(frequency * np.cos(tilt)) * x + column(frequency * np.sin(tilt)) * y + column(phase))
    images = column(color) * wave
    images += noise
    images += column(background)
    return images.clip(0, 255, out=images).astype(np.uint8), labels
