"""The table of the BN-Inception benchmark, and its note on float32 and TF32."""

import pytest

from benchmarks.inception import table


@pytest.mark.parametrize("on_gpu", [False, True])
def test_the_table_compares_with_plain_eager_and_the_floor(on_gpu):
    def row(name, precision, speed):
        kernels = [("convolution", 0.75)] if on_gpu else None
        memory = 10**9 if on_gpu else None
        found = {"name": name, "precision": precision, "images_per_second": speed}
        return {**found, "memory": memory, "top_five": kernels}

    rows = [row("plain eager, NCHW", "float32", 10.0), row("ours", "bf16", 40.0)]
    document = {
        "training": rows, "inference": rows, "multiply_adds": 1e9, "tf32": on_gpu,
        "matrix_rate": {"float32": 1e11, "bf16": 4e11}, "batch": 16, "size": 224, "threads": 2, "rounds": 9,
        "device": "a device", "environment": {"torch": "2.0", "time": "2026-01-02T03:04:05"},
    }  # fmt: skip
    lines = table(document).splitlines()
    end = " 1.0 |" if on_gpu else ""
    # Training counts three forward passes of 1e9 multiply-adds: the floors are 33.3 and 133.3 images/s.
    assert [line for line in lines if line.startswith("| ours")] == [
        f"| ours | bf16 | 40.0 | 4.00 | 30% |{end}", f"| ours | bf16 | 40.0 | 4.00 | 10% |{end}"
    ]  # fmt: skip
    assert ("200 GFLOP/s in float32 (TF32, in convolutions too), 800 in bf16." in table(document)) is on_gpu
    assert ("200 GFLOP/s in float32, 800 in bf16." in table(document)) is not on_gpu
    assert ("GPU hours" in table(document)) is on_gpu
