"""`data=fashion_mnist`: read from IDX files or downloaded, verified, and trained on like MNIST."""

import errno
import gzip
import hashlib
import os

import numpy as np
import pytest
import torchvision

from bn.config import idx_sets
from bn.config.idx_sets import IDX_SETS
from bn.data.mnist import load_mnist
from bn.errors import UserError
from bn.run.directory import read_lines

FILES = tuple(IDX_SETS["fashion_mnist"].sha256)


def idx(name):
    """The content of an IDX file with 300 training or 100 test examples."""
    count = 300 if name.startswith("train") else 100
    draws = np.random.default_rng(len(name))
    if "labels" in name:
        return bytes(8) + draws.integers(0, 10, count, np.uint8).tobytes()
    return bytes(16) + draws.integers(0, 256, (count, 784), np.uint8).tobytes()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of IDX files, two of them not gzipped, whose checksums are in the table."""
    sums = {name: hashlib.sha256(idx(name)).hexdigest() for name in FILES}
    monkeypatch.setitem(IDX_SETS, "fashion_mnist", IDX_SETS["fashion_mnist"]._replace(sha256=sums))
    for i, name in enumerate(FILES):
        if i % 2:
            (tmp_path / name).write_bytes(idx(name))
        else:
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress(idx(name)))
    return tmp_path


def test_a_folder_of_its_files_is_read(folder):
    data = load_mnist(folder, name="fashion_mnist")
    gray = np.frombuffer(idx(FILES[0]), np.uint8, offset=16).reshape(-1, 784)
    assert np.array_equal(data.train.images.numpy(), gray > 127)
    assert data.test.labels.shape == (100,)


def test_it_is_trained_on(folder, trained, monkeypatch):
    monkeypatch.setattr("bn.tasks.mnist.load_mnist", load_mnist)
    overrides = (
        "data=fashion_mnist",
        f"data.root={folder}",
        "steps=4",
        "optim.batch=30",
        "probe.examples=60",
    )
    run = trained("experiment=mnist_bn", *overrides)
    assert "data-fashion_mnist" in str(run.path)
    assert "test/accuracy" in read_lines(run.path / "metrics.jsonl")[-1]


@pytest.mark.parametrize("name", [f"{FILES[0]}.gz", FILES[1]])
def test_a_damaged_file_is_one_line(folder, name):
    (folder / name).write_bytes(b"something else")
    with pytest.raises(UserError) as error:
        load_mnist(folder, name="fashion_mnist")
    assert str(error.value).startswith(
        f"{folder / name}: damaged, or from another data set (checksum differs): put the four files into a "
    )


def test_mnist_files_are_refused(tmp_path):
    real = idx_sets.IDX_SETS["mnist"].sha256
    assert not set(real.values()) & set(IDX_SETS["fashion_mnist"].sha256.values())


def test_a_failed_download_is_one_line(folder, monkeypatch):
    def fake(root, download):
        raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", fake)
    (folder / f"{FILES[0]}.gz").unlink()
    with pytest.raises(UserError, match="Network is unreachable") as error:
        load_mnist(folder, name="fashion_mnist")
    assert "\n" not in str(error.value)
    assert "data.root=/usr/share/datasets/fashion-mnist" in str(error.value)
