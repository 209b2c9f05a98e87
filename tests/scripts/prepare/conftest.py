"""Small archives in place of ImageNet's, with the expected counts and checksums patched."""

import pytest
from small_lsvrc2012 import PER_CLASS, TRUTH, WNIDS, md5_of, write_archives
from torchvision.datasets.imagenet import ARCHIVE_META

from scripts import prepare_imagenet
from scripts.prepared import Counts


@pytest.fixture
def archives(tmp_path, monkeypatch):
    """The folder with the three archives."""
    folder = tmp_path / "archives"
    folder.mkdir()
    write_archives(folder)
    for name, (file, _) in tuple(ARCHIVE_META.items()):
        monkeypatch.setitem(ARCHIVE_META, name, (file, md5_of(folder / file)))
    monkeypatch.setattr(prepare_imagenet, "COUNTS", Counts(len(WNIDS), len(WNIDS) * PER_CLASS, len(TRUTH)))
    return folder


@pytest.fixture
def root(tmp_path):
    """The root of the tree to create."""
    return tmp_path / "data" / "tree"
