"""Small archives, which the preparation of ImageNet is made to expect."""

import signal

import pytest
from small_lsvrc2012 import PER_CLASS, TRUTH, WNIDS, md5_of, write_archives
from torchvision.datasets.imagenet import ARCHIVE_META

from bn.errors import UserError
from scripts import prepare_imagenet


@pytest.fixture(autouse=True)
def _ctrl_c_interrupts():
    """As at a terminal; a job that a shell started in the background ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def archives(tmp_path, monkeypatch):
    """The folder with the three archives."""
    folder = tmp_path / "archives"
    folder.mkdir()
    write_archives(folder)
    for name, (file, _) in tuple(ARCHIVE_META.items()):
        monkeypatch.setitem(ARCHIVE_META, name, (file, md5_of(folder / file)))
    monkeypatch.setattr(prepare_imagenet, "CLASSES", len(WNIDS))
    monkeypatch.setattr(prepare_imagenet, "TRAIN", len(WNIDS) * PER_CLASS)
    monkeypatch.setattr(prepare_imagenet, "VALIDATION", len(TRUTH))
    return folder


@pytest.fixture
def root(tmp_path):
    """Of the tree to be made."""
    return tmp_path / "data" / "tree"


@pytest.fixture
def refused(archives, root):
    """The line with which the preparation is refused; nothing half-written stays."""

    def line(**options):
        with pytest.raises(UserError) as error:
            prepare_imagenet.prepare(archives, root, **options)
        assert "\n" not in str(error.value)
        assert not (root / ".unfinished").exists()
        return str(error.value)

    return line
