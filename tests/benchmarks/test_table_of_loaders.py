"""The loader benchmark: its photographs are like ImageNet's, and its table shows what was measured."""

import numpy as np

from benchmarks.loaders import table
from benchmarks.photographs import jpeg_file, photograph


def test_a_photograph_takes_as_many_bytes_as_imagenets():
    """110 KB on average at 500x375."""
    sizes = [len(jpeg_file(photograph(seed))) for seed in range(3)]
    assert all(95_000 < size < 125_000 for size in sizes)


def test_a_photograph_has_the_spectrum_of_natural_images():
    """Power falls with the square of the frequency, about (Field 1987); white noise would stay level."""
    gray = np.mean([photograph(seed, 256, 256).mean(2) for seed in range(3)], 0)
    power = np.abs(np.fft.rfft2(gray - gray.mean())) ** 2
    frequency = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256))
    bands = [2.0**-k for k in range(2, 7)]
    means = [power[(frequency > low) & (frequency <= 2 * low)].mean() for low in bands]
    slope = np.polyfit(np.log(bands), np.log(means), 1)[0]
    assert -3 < slope < -1.5


def test_the_table_compares_with_the_usual_pipeline():
    document = {
        "images_per_second": {"JPEG": {"usual": 250.0, "ours": 500.0}, "small": {"usual": 1e3, "ours": 12e3}},
        "kilobytes": 108.4, "workers": 0, "batch": 32, "rounds": 9, "device": "a CPU",
        "environment": {"torch": "2.0", "time": "2026-01-02T03:04:05"},
    }  # fmt: skip
    lines = table(document).splitlines()
    assert "| JPEG | images/s per core | x usual |" in lines
    assert "| ours | 500 | 2.00 |" in lines
    assert "| ours | 12,000 | 12.00 |" in lines
    assert lines[-1].startswith(
        "Measured on a CPU, no workers, 1 thread, mini-batches of 32, files in memory (108 KB each"
    )
    assert "| JPEG | images/s | x usual |" in table({**document, "workers": 4})
