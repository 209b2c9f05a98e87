"""scripts/prepare_tiny_imagenet.py with a small zip in the format of Stanford's."""

import functools
import http.server
import shutil
import sys
import threading
import zipfile

import pytest
from small_lsvrc2012 import contents, jpeg, md5_of

from bn.errors import UserError
from scripts import prepare_tiny_imagenet as script
from scripts.prepared import Counts

WNIDS = ("n00000030", "n00000010", "n00000020")
TRAIN, VALIDATION = 4, 2  # images of each class
TRAINING = {f"{w}_{n}.JPEG": jpeg(10 * i + n) for i, w in enumerate(WNIDS) for n in range(TRAIN)}
VAL_CLASSES = (WNIDS[1], WNIDS[0], WNIDS[2], WNIDS[2], WNIDS[0], WNIDS[1])  # of val_0, val_1, ...
EXPECTED = {f"train/{name.partition('_')[0]}/{name}": image for name, image in TRAINING.items()} | {
    f"val/{wnid}/val_{n}.JPEG": jpeg(100 + n) for n, wnid in enumerate(VAL_CLASSES)
}
ANNOTATIONS = "".join(f"val_{n}.JPEG\t{wnid}\t0\t32\t44\t62\n" for n, wnid in enumerate(VAL_CLASSES))


def members():
    """The members of a zip like Stanford's: name -> content."""
    inside = {"wnids.txt": "\n".join(WNIDS).encode(), "words.txt": b"n00000030\ta word"}
    for name, image in TRAINING.items():
        wnid = name.partition("_")[0]
        inside[f"train/{wnid}/{wnid}_boxes.txt"] = b"boxes"
        inside[f"train/{wnid}/images/{name}"] = image
    inside["val/val_annotations.txt"] = ANNOTATIONS.encode()
    for n in reversed(range(len(VAL_CLASSES))):
        inside[f"val/images/val_{n}.JPEG"] = jpeg(100 + n)
    inside["test/images/test_0.JPEG"] = jpeg(1)
    return {f"tiny-imagenet-200/{name}": content for name, content in inside.items()}


def write_zip(path, inside):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in inside.items():
            zipped.writestr(name, content)


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """The zip, with the expected counts and MD5 patched in the script."""
    path = tmp_path / "elsewhere" / "tiny.zip"
    path.parent.mkdir()
    write_zip(path, members())
    monkeypatch.setattr(script, "MD5", md5_of(path))
    monkeypatch.setattr(script, "COUNTS", Counts(len(WNIDS), len(WNIDS) * TRAIN, len(WNIDS) * VALIDATION))
    return path


def complete(root):
    return f"{root}: complete: 3 classes, 12 training and 6 validation images\n"


def refused(archive, root, **options):
    """The message of the UserError."""
    with pytest.raises(UserError) as error:
        script.prepare(archive, root, **options)
    assert "\n" not in str(error.value)
    assert not (root / ".unfinished").exists()
    return str(error.value)


def test_the_tree_holds_each_image_in_its_class_and_nothing_else(archive, root, capfd):
    script.prepare(archive, root)
    assert contents(root) == EXPECTED
    assert sorted(path.name for path in root.iterdir()) == ["train", "val"]
    assert capfd.readouterr() == (complete(root), "")


def test_a_finished_tree_is_reported_and_unchanged_without_the_zip(archive, root, snapshot, capfd):
    script.prepare(archive, root)
    before = snapshot(root)
    archive.unlink()
    capfd.readouterr()
    script.prepare(archive, root, download_it=True)
    assert capfd.readouterr() == (complete(root), "")
    assert snapshot(root) == before


@pytest.mark.parametrize("content", [b"", b"this is no zip"])
def test_another_file_is_refused_by_its_md5(archive, root, content):
    archive.write_bytes(content)
    expected = f"{archive}: damaged, or not the published file (MD5): remove it and download it again"
    assert refused(archive, root) == expected
    assert not root.exists()


def test_a_missing_zip_says_how_to_get_it(archive, root):
    archive.unlink()
    assert refused(archive, root) == f"{archive}: not found: --download gets it from {script.URL}"


def test_leftovers_of_a_killed_command_are_named(archive, root):
    (root / ".unfinished").mkdir(parents=True)
    with pytest.raises(UserError, match=rf"^{root}/\.unfinished: left by a killed or running command"):
        script.prepare(archive, root)


def test_an_existing_folder_is_unchanged(archive, root, snapshot):
    script.prepare(archive, root)
    before = snapshot(root / "train")
    shutil.rmtree(root / "val")
    script.prepare(archive, root)
    assert contents(root) == EXPECTED
    assert snapshot(root / "train") == before


def test_an_image_too_few(archive, root, monkeypatch):
    write_zip(archive, {name: c for name, c in members().items() if f"{WNIDS[0]}_0.JPEG" not in name})
    monkeypatch.setattr(script, "MD5", md5_of(archive))
    assert refused(archive, root).startswith(f"{archive}: damaged, or not the published file: not 12 train ")
    assert not root.exists()


PREFIX = "tiny-imagenet-200"
OTHERS = {
    "an image too few": {f"{PREFIX}/train/{WNIDS[0]}/images/{WNIDS[0]}_0.JPEG": None},
    "a validation image too few": {f"{PREFIX}/val/images/val_0.JPEG": None},
    "an image too many": {f"{PREFIX}/train/{WNIDS[0]}/images/{WNIDS[0]}_9.JPEG": b"more"},
    "a class too many": {f"{PREFIX}/train/n00000099/images/n00000099_1.JPEG": b"more"},
    "a validation class that leads out": {
        f"{PREFIX}/val/val_annotations.txt": ANNOTATIONS.replace(WNIDS[1], "../../../evil").encode()
    },
    "an image without a label": {f"{PREFIX}/val/images/val_6.JPEG": b"more"},
    "no labels": {f"{PREFIX}/val/val_annotations.txt": None},
    "labels that are none": {f"{PREFIX}/val/val_annotations.txt": b"val_0.JPEG\nval_1.JPEG\n"},
}


@pytest.mark.parametrize("case", OTHERS)
def test_another_content_is_refused(archive, root, case):
    write_zip(archive, {name: c for name, c in (members() | OTHERS[case]).items() if c is not None})
    assert refused(archive, root, md5=False).startswith(f"{archive}: ")
    assert contents(root).items() <= EXPECTED.items()
    assert not list(root.parents[1].rglob("evil*"))


def test_names_that_lead_out_of_the_tree_are_skipped(archive, root, tmp_path):
    hostile = (
        "../evil.JPEG",
        f"{tmp_path}/evil.JPEG",
        f"{PREFIX}/train/{WNIDS[0]}/images/../../../../../evil.JPEG",
        f"{PREFIX}/val/images/../../../evil.JPEG",
        f"{PREFIX}/train/../{WNIDS[0]}/images/{WNIDS[0]}_7.JPEG",
    )
    write_zip(archive, members() | dict.fromkeys(hostile, b"evil"))
    script.prepare(archive, root, md5=False)
    assert contents(root) == EXPECTED
    assert {p for p in tmp_path.rglob("*") if p.is_file() and root not in p.parents} == {archive}


@pytest.fixture
def server(archive):
    """The URL of a server for the archive's folder."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

    handler = functools.partial(Handler, directory=str(archive.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_download(archive, root, server, monkeypatch):
    monkeypatch.setattr(script, "URL", f"{server}/{archive.name}")
    target = root / "tiny-imagenet-200.zip"
    script.prepare(target, root, download_it=True)
    assert target.read_bytes() == archive.read_bytes()
    assert {name: image for name, image in contents(root).items() if name != target.name} == EXPECTED


def test_a_download_that_fails_is_one_line(archive, root, server, monkeypatch):
    target = root / "tiny.zip"
    archive.with_name("other.zip").write_bytes(b"another file")
    for url, reason in (
        ("http://127.0.0.1:1/tiny.zip", "Connection refused"),
        (f"{server}/other.zip", "corrupted"),
    ):
        monkeypatch.setattr(script, "URL", url)
        line = refused(target, root, download_it=True)
        assert line.startswith(f"{url}: download failed (")
        assert reason in line
        assert not root.exists()


def test_the_command(archive, root, monkeypatch):
    def command(*arguments):
        monkeypatch.setattr(
            sys, "argv", ["prepare_tiny_imagenet.py", *map(str, arguments), "--root", str(root)]
        )
        script.main()

    with pytest.raises(SystemExit) as stop:
        command()
    assert stop.value.code == (
        f"prepare_tiny_imagenet.py: {root / 'tiny-imagenet-200.zip'}: not found: "
        f"--download gets it from {script.URL}"
    )
    monkeypatch.setattr(script, "MD5", "another")
    command(archive, "--no-verify")
    assert contents(root) == EXPECTED


def test_the_published_counts():
    assert script.COUNTS == (200, 200 * 500, 200 * 50)
    assert script.URL == "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
