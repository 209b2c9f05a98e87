"""The MNIST files: unpacked at the first use, verified at each use, downloaded if they were removed."""

import errno
import gzip
import hashlib
import os
import subprocess
from pathlib import Path

import pytest
import torchvision

from bn.config.idx_sets import IDX_SETS
from bn.data.mnist import load_mnist
from bn.errors import UserError
from bn.files import REPOSITORY

SHA256 = IDX_SETS["mnist"].sha256
NAME = "t10k-labels-idx1-ubyte"  # the file that these tests remove or damage
REAL = REPOSITORY / "data" / "mnist"


@pytest.fixture
def root(tmp_path):
    """A folder with the bundled files, all but NAME unpacked."""
    load_mnist(REAL)
    folder = tmp_path / "mnist"
    (folder / "unpacked").mkdir(parents=True)
    for name in SHA256:
        (folder / f"{name}.gz").symlink_to(REAL / f"{name}.gz")
        if name != NAME:
            (folder / "unpacked" / name).symlink_to(REAL / "unpacked" / name)
    return folder


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_bundled_files_are_the_official_ones():
    for name, expected in SHA256.items():
        assert hashlib.sha256(gzip.decompress((REAL / f"{name}.gz").read_bytes())).hexdigest() == expected


def test_unpacked_at_first_use_and_used_at_the_next(root, monkeypatch):
    labels = load_mnist(root).test.labels
    assert digest(root / "unpacked" / NAME) == SHA256[NAME]
    assert sorted(path.name for path in (root / "unpacked").iterdir()) == sorted(SHA256)
    monkeypatch.setattr(gzip, "decompress", lambda *_: pytest.fail("unpacked twice"))
    assert load_mnist(root).test.labels.equal(labels)


DAMAGES = {
    "cut": lambda content: content[: len(content) // 2],
    "altered": lambda content: content[:3000] + bytes([content[3000] ^ 1]) + content[3001:],
    "empty": lambda content: b"",
    "another": lambda content: gzip.compress(b"something else"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_bundled_file_is_one_line(root, damage):
    path = root / f"{NAME}.gz"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(DAMAGES[damage](content))
    with pytest.raises(UserError) as error:
        load_mnist(root)
    line = one_line(error)
    assert line.startswith(f"{path}: damaged")
    assert "git checkout -- data/mnist" in line
    assert not (root / "unpacked" / NAME).exists()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_unpacked_file_is_unpacked_again_silently(root, capfd, damage):
    good = load_mnist(root).test.labels
    path = root / "unpacked" / NAME
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    assert digest(path) != SHA256[NAME]
    assert load_mnist(root).test.labels.equal(good)
    assert digest(path) == SHA256[NAME]
    assert capfd.readouterr() == ("", "")


def test_a_run_with_a_damaged_file_is_one_line(cli, typed, root, tmp_path):
    path = root / f"{NAME}.gz"
    path.unlink()
    path.write_bytes(b"damaged")
    code, _, err = cli(*typed("experiment=mnist_bn", f"data.root={root}"))
    assert (code, err.count("\n")) == (1, 1)
    assert f"{path}: damaged" in err


@pytest.fixture
def download(monkeypatch):
    """Replace torchvision's download: `download(content or error)` returns the list of calls."""
    calls = []

    def replace(outcome):
        def fake(root, download):
            calls.append((root, download))
            if isinstance(outcome, Exception):
                raise outcome
            raw = Path(root) / "MNIST" / "raw"
            raw.mkdir(parents=True)
            (raw / NAME).write_bytes(outcome)

        monkeypatch.setattr(torchvision.datasets, "MNIST", fake)
        return calls

    return replace


def test_a_removed_file_is_downloaded_by_torchvision(root, download):
    calls = download(gzip.decompress((REAL / f"{NAME}.gz").read_bytes()))
    (root / f"{NAME}.gz").unlink()
    assert load_mnist(root).test.labels.equal(load_mnist(REAL).test.labels)
    assert calls == [(str(root), True)]
    assert digest(root / "unpacked" / NAME) == SHA256[NAME]
    load_mnist(root)
    assert len(calls) == 1


def test_a_download_is_verified(root, download):
    download(b"not MNIST")
    (root / f"{NAME}.gz").unlink()
    with pytest.raises(UserError) as error:
        load_mnist(root)
    assert one_line(error).startswith(
        f"{root}/MNIST/raw/{NAME}: damaged, or from another data set (checksum "
    )
    assert not (root / "unpacked" / NAME).exists()


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (RuntimeError("Error downloading t10k\nmore"), "Error downloading t10k"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "Network is unreachable"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_a_failed_download_is_one_line(root, download, failure, reason):
    download(failure)
    (root / f"{NAME}.gz").unlink()
    with pytest.raises(UserError) as error:
        load_mnist(root)
    line = one_line(error)
    assert line.startswith(f"{root / NAME}.gz: missing, and the download failed (")
    assert reason in line
    assert "git checkout -- data/mnist" in line


def test_an_unpacked_file_is_enough(root, download):
    calls = download(OSError("no network"))
    expected = load_mnist(root).test.labels
    (root / f"{NAME}.gz").unlink()
    assert load_mnist(root).test.labels.equal(expected)
    assert calls == []


def test_nothing_needs_to_be_written(root, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for name in ("write_bytes", "mkdir", "replace", "unlink"):
        monkeypatch.setattr(Path, name, refuse)
    data = load_mnist(root)
    monkeypatch.undo()
    assert data.test.labels.equal(load_mnist(REAL).test.labels)
    assert not (root / "unpacked" / NAME).exists()


def test_a_file_system_mounted_read_only(root):
    mounted = root / "unpacked"
    try:
        for arguments in (["--bind", mounted, mounted], ["-o", "remount,ro,bind", mounted]):
            done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"mounting needs root: {done.stderr.strip()}")
        with pytest.raises(OSError, match="Read-only"):
            (mounted / "file").write_text("")
        assert load_mnist(root).test.labels.equal(load_mnist(REAL).test.labels)
        assert not (mounted / NAME).exists()
    finally:
        subprocess.run(["umount", "--lazy", mounted], capture_output=True, check=False)
