"""scripts/prepare_imagenet.py: the tree is correct, also after interruptions."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
from small_lsvrc2012 import DEVKIT, EXPECTED, TRAIN, VAL, WNIDS, contents
from torchvision.datasets.imagenet import ARCHIVE_META

from bn.data.datasets import read_tree
from bn.errors import UserError
from bn.files import REPOSITORY
from scripts import prepare_imagenet

pytestmark = pytest.mark.filterwarnings("ignore:Python 3.14 will:DeprecationWarning")  # from torchvision


def complete(root):
    return f"{root}: complete: 3 classes, 12 training and 7 validation images\n"


def refused(archives, root, **options):
    """The message with which the preparation fails; checks that no partial files remain."""
    with pytest.raises(UserError) as error:
        prepare_imagenet.prepare(archives, root, **options)
    assert "\n" not in str(error.value)
    assert not (root / ".unfinished").exists()
    return str(error.value)


def test_the_tree_holds_each_image_in_its_class_and_nothing_else(archives, root, capfd):
    prepare_imagenet.prepare(archives, root)
    assert contents(root) == EXPECTED
    assert sorted(path.name for path in root.iterdir()) == ["train", "val"]
    out, err = capfd.readouterr()
    assert out.endswith(complete(root))
    assert err == ""


def test_the_tree_is_what_training_reads(archives, root):
    prepare_imagenet.prepare(archives, root)
    classes = sorted(WNIDS)
    for split, listing in read_tree(root, len(WNIDS), "").items():
        found = {path.removeprefix(f"{root}/") for path in listing.names}
        assert found == {name for name in EXPECTED if name.startswith(split)}
        for path, label in zip(listing.names, listing.labels, strict=True):
            assert path.split("/")[-2] == classes[label]


def test_a_finished_tree_is_reported_and_unchanged_without_the_archives(archives, root, snapshot, capfd):
    prepare_imagenet.prepare(archives, root)
    before = snapshot(root)
    shutil.rmtree(archives)
    capfd.readouterr()
    prepare_imagenet.prepare(archives, root)
    assert capfd.readouterr() == (complete(root), "")
    assert snapshot(root) == before


KILLED = """
import json, os, signal, sys
from pathlib import Path
from scripts import prepare_imagenet
from scripts.prepared import Counts

counts, meta, archives, root = map(json.loads, sys.argv[1:])
prepare_imagenet.COUNTS = Counts(*counts)
prepare_imagenet.ARCHIVE_META.update(meta)
os.sync = lambda: (Path(root) / "train").exists() and os.kill(os.getpid(), signal.SIGKILL)
prepare_imagenet.prepare(Path(archives), Path(root))
"""


@pytest.mark.slow
def test_after_a_kill_the_same_command_completes_the_tree(archives, root, snapshot):
    arguments = (prepare_imagenet.COUNTS, ARCHIVE_META, str(archives), str(root))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *map(json.dumps, arguments)],
        cwd=REPOSITORY, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert sorted(path.name for path in root.iterdir()) == [".unfinished", "train"]
    before = snapshot(root / "train")
    with pytest.raises(UserError, match=rf"^{root}/\.unfinished: left by a killed or running command"):
        prepare_imagenet.prepare(archives, root)
    shutil.rmtree(root / ".unfinished")
    prepare_imagenet.prepare(archives, root)
    assert contents(root) == EXPECTED
    assert snapshot(root / "train") == before


@pytest.mark.parametrize("name", [TRAIN, VAL, DEVKIT])
def test_an_archive_that_is_damaged_or_missing_is_named(archives, root, name):
    (archives / name).write_bytes((archives / name).read_bytes()[:-1])
    line = refused(archives, root)
    assert line.startswith(f"{archives / name}: damaged, or not the published file (MD5): ")
    assert root.exists() == (root / "train").exists() == (name == VAL)
    (archives / name).unlink()
    assert refused(archives, root).startswith(f"{archives}: no {name}: ")


def test_an_image_removed_from_a_finished_tree_is_missed(archives, root):
    prepare_imagenet.prepare(archives, root)
    next((root / "train" / WNIDS[2]).iterdir()).unlink()
    assert refused(archives, root) == f"{root}: incomplete: remove it and run again"


def test_the_command(archives, root, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["prepare_imagenet.py", *map(str, arguments)])
        prepare_imagenet.main()

    with pytest.raises(SystemExit, match=rf"^prepare_imagenet.py: {root.parent}: no {TRAIN}"):
        command(root.parent, "--root", root)
    with monkeypatch.context() as patch:
        patch.setattr(os, "sync", interrupt)
        with pytest.raises(SystemExit) as stop:
            command(archives, "--root", root)
        assert stop.value.code == 130
    assert not root.exists()
    monkeypatch.setitem(ARCHIVE_META, "train", (TRAIN, "another"))
    command(archives, "--root", root, "--no-verify")
    assert contents(root) == EXPECTED


def test_the_published_counts():
    """The published counts, from the LSVRC2012 paper (arXiv 1409.0575, Table 2)."""
    assert prepare_imagenet.COUNTS == (1000, 1281167, 50000)
    assert {name: md5 for name, (_, md5) in ARCHIVE_META.items()} == {
        "train": "1d675b47d978889d74fa0da5fadfb00e",
        "val": "29b22e2961454d5413ddabcf34fc5622",
        "devkit": "fa75699e90414af021442c21a62c3abf",
    }
