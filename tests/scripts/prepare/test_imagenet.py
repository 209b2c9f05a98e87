"""scripts/prepare_imagenet.py: the tree is right, however often it was interrupted."""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from small_lsvrc2012 import DEVKIT, EXPECTED, INNER, TRAIN, VAL, WNIDS, assert_whole, contents
from torchvision.datasets.imagenet import ARCHIVE_META

from bn.data import archives as shared
from bn.data.tree import read_tree
from bn.run.directory import REPOSITORY
from scripts import prepare_imagenet


def test_the_tree_holds_each_image_in_its_class_and_nothing_else(archives, root, capfd):
    prepare_imagenet.prepare(archives, root)
    assert contents(root) == EXPECTED
    assert sorted(path.name for path in root.iterdir()) == [".verified", "train", "val"]
    assert capfd.readouterr() == (f"{root}: complete: 3 classes, 12 training and 7 validation images\n", "")


def test_the_tree_is_what_training_reads(archives, root):
    prepare_imagenet.prepare(archives, root)
    tree = read_tree(root, len(WNIDS), "")
    for split, listing in (("train", tree["train"]), ("val", tree["val"])):
        assert listing.classes == tuple(sorted(WNIDS))
        found = {
            f"{split}/{listing.classes[label]}/{Path(path).name}": Path(path).read_bytes()
            for path, label in zip(listing, listing.labels, strict=True)
        }
        assert found == {name: image for name, image in EXPECTED.items() if name.startswith(split)}


def test_a_finished_tree_is_said_and_left_alone_without_the_archives(archives, root, snapshot, capfd):
    prepare_imagenet.prepare(archives, root)
    before = snapshot(root)
    shutil.rmtree(archives)
    capfd.readouterr()
    prepare_imagenet.prepare(archives, root)
    assert capfd.readouterr() == (f"{root}: is complete; nothing to do\n", "")
    assert snapshot(root) == before


def finished(root):
    """Each finished class folder of the training images, with what must not change of it."""
    return {
        folder.name: [
            (folder.stat().st_mtime_ns, path.name, path.stat().st_mtime_ns) for path in folder.iterdir()
        ]
        for folder in (root / "train").glob("*")
    }


@pytest.mark.parametrize("folders", range(len(WNIDS) + 1))
def test_interrupted_as_a_folder_is_about_to_get_its_name(archives, root, monkeypatch, folders):
    syncs = iter(range(99))

    def sync():
        if next(syncs) == folders:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "sync", sync)
        with pytest.raises(KeyboardInterrupt):
            prepare_imagenet.prepare(archives, root)
    before = finished(root)
    assert len(before) == folders
    assert not (root / "val").exists()
    assert_whole(root)
    assert not (root / ".unfinished").exists()

    prepare_imagenet.prepare(archives, root)
    assert contents(root) == EXPECTED
    assert before.items() <= finished(root).items()


KILLED = """
import json, os, signal, sys
from pathlib import Path
from scripts import prepare_imagenet

constants, meta, archives, root = map(json.loads, sys.argv[1:])
vars(prepare_imagenet).update(constants)
prepare_imagenet.ARCHIVE_META.update(meta)
write, images = prepare_imagenet.write, iter(range(99))

def write_and_die(*arguments):
    write(*arguments)
    if next(images) == 5:  # in the second class
        os.kill(os.getpid(), signal.SIGKILL)

prepare_imagenet.write = write_and_die
prepare_imagenet.prepare(Path(archives), Path(root))
"""


@pytest.mark.slow
def test_killed_in_the_middle_of_a_class_the_same_command_goes_on(archives, root):
    constants = {name: getattr(prepare_imagenet, name) for name in ("CLASSES", "TRAIN", "VALIDATION")}
    arguments = (constants, ARCHIVE_META, str(archives), str(root))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *map(json.dumps, arguments)],
        cwd=REPOSITORY, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [path.name for path in (root / ".unfinished" / WNIDS[1]).iterdir()]  # what it left behind
    before = finished(root)
    assert [*before] == [WNIDS[0]]
    assert_whole(root)

    prepare_imagenet.prepare(archives, root)
    assert contents(root) == EXPECTED
    assert before.items() <= finished(root).items()


def test_the_large_archives_are_verified_once_and_again_when_they_change(archives, root, monkeypatch):
    verified = []

    def verify(archive, expected):
        verified.append(archive.name)
        shared.verify_md5(archive, expected)

    monkeypatch.setattr(prepare_imagenet, "verify_md5", verify)

    def run(broken):
        verified.clear()
        with monkeypatch.context() as patch:
            if broken:
                patch.setattr(prepare_imagenet, "extract_train", lambda *_: (_ for _ in ()).throw(KeyError))
            with pytest.raises(KeyError) if broken else contextlib.nullcontext():
                prepare_imagenet.prepare(archives, root)
        return verified

    assert run(broken=True) == [DEVKIT, TRAIN, VAL]
    os.utime(archives / VAL, (1, 1))
    assert run(broken=True) == [DEVKIT, VAL]
    assert run(broken=False) == [DEVKIT]
    assert contents(root) == EXPECTED


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(archives, root, refused, monkeypatch):
    images = iter(range(99))
    whole = prepare_imagenet.write

    def write(*arguments):
        if next(images) == 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        whole(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(prepare_imagenet, "write", write)
        assert refused() == (f"{root}: No space left on device: fix this, then run the same command again")
    assert [path.name for path in (root / "train").iterdir()] == [WNIDS[0]]
    prepare_imagenet.prepare(archives, root)
    assert contents(root) == EXPECTED


def test_too_little_room_is_said_before_anything_is_extracted(archives, root, refused, monkeypatch):
    usage = shutil.disk_usage(archives)
    needed = sum(map(len, INNER.values()))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=needed - 1))
    assert "GB needed" in refused()
    assert not (root / "train").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=needed))
    prepare_imagenet.prepare(archives, root)


def test_two_at_a_time_are_refused(archives, root, refused):
    root.mkdir(parents=True)
    with (root / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "in use by another process" in refused()
    prepare_imagenet.prepare(archives, root)


@pytest.fixture
def command(monkeypatch, capfd):
    """Exit code and standard error of the command with these arguments."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["prepare_imagenet.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            prepare_imagenet.main()
        return stop.value.code, capfd.readouterr().err

    return run


def test_the_command(archives, root, command, monkeypatch):
    line, err = command(root.parent, "--root", root)  # a string is printed, and exits with 1
    assert line.startswith(f"prepare_imagenet.py: {root.parent}: no {TRAIN}")
    assert err == ""
    with monkeypatch.context() as patch:
        patch.setattr(os, "sync", lambda: signal.raise_signal(signal.SIGINT))
        assert command(archives, "--root", root) == (
            130, "prepare_imagenet.py: stopped; the same command continues\n"
        )  # fmt: skip
    (archives / TRAIN).write_bytes((archives / TRAIN).read_bytes() + bytes(512))  # another MD5, as good
    assert "MD5" in command(archives, "--root", root)[0]
    monkeypatch.setattr(sys, "argv", ["", str(archives), "--root", str(root), "--no-verify"])
    prepare_imagenet.main()
    assert contents(root) == EXPECTED


def test_what_is_published():
    """The sizes of the real thing, from the LSVRC2012 paper (arXiv 1409.0575, Table 2)."""
    assert (prepare_imagenet.CLASSES, prepare_imagenet.TRAIN, prepare_imagenet.VALIDATION) == (
        1000, 1281167, 50000
    )  # fmt: skip
    assert {name: md5 for name, (_, md5) in ARCHIVE_META.items()} == {
        "train": "1d675b47d978889d74fa0da5fadfb00e",
        "val": "29b22e2961454d5413ddabcf34fc5622",
        "devkit": "fa75699e90414af021442c21a62c3abf",
    }
