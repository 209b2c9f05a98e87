"""scripts/prepare_tiny_imagenet.py, on a small zip of the form of Stanford's."""

import io
import os
import signal
import subprocess
import sys
import zipfile
from email.message import Message
from pathlib import Path

import pytest
from small_lsvrc2012 import contents, jpeg, md5_of

from bn.data.tree import read_tree
from bn.errors import UserError
from bn.run.directory import REPOSITORY
from scripts import prepare_tiny_imagenet as script

WNIDS = ("n00000030", "n00000010", "n00000020")
TRAIN, VALIDATION = 4, 2  # images of each class
TRAINING = {f"{w}_{n}.JPEG": jpeg(10 * i + n) for i, w in enumerate(WNIDS) for n in range(TRAIN)}
VAL_CLASSES = (WNIDS[1], WNIDS[0], WNIDS[2], WNIDS[2], WNIDS[0], WNIDS[1])  # of val_0, val_1, ...
EXPECTED = {f"train/{name.partition('_')[0]}/{name}": image for name, image in TRAINING.items()} | {
    f"val/{wnid}/val_{n}.JPEG": jpeg(100 + n) for n, wnid in enumerate(VAL_CLASSES)
}
ANNOTATIONS = "".join(f"val_{n}.JPEG\t{wnid}\t0\t32\t44\t62\n" for n, wnid in enumerate(VAL_CLASSES))


def members():
    """What is in Stanford's zip: name -> content."""
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
    """The zip; the script expects what it holds."""
    path = tmp_path / "elsewhere" / "tiny.zip"
    path.parent.mkdir()
    write_zip(path, members())
    monkeypatch.setattr(script, "MD5", md5_of(path))
    monkeypatch.setattr(script, "CLASSES", len(WNIDS))
    monkeypatch.setattr(script, "TRAIN", TRAIN)
    monkeypatch.setattr(script, "VALIDATION", VALIDATION)
    return path


def refused(archive, root, **options):
    """The one line of the UserError."""
    with pytest.raises(UserError) as error:
        script.prepare(archive, root, **options)
    assert "\n" not in str(error.value)
    assert not (root / ".unfinished").exists()
    return str(error.value)


def test_the_tree_holds_each_image_in_its_class_and_nothing_else(archive, root, capfd):
    script.prepare(archive, root)
    assert contents(root) == EXPECTED
    assert sorted(path.name for path in root.iterdir()) == ["train", "val"]
    assert capfd.readouterr() == (f"{root}: complete: 3 classes, 12 training and 6 validation images\n", "")
    tree = read_tree(root, len(WNIDS), "")
    assert tree["train"].classes == tree["val"].classes == tuple(sorted(WNIDS))
    read = {
        str(Path(path).relative_to(root)): Path(path).read_bytes() for path in (*tree["train"], *tree["val"])
    }
    assert read == EXPECTED


def test_a_finished_tree_is_said_and_left_alone_without_the_zip(archive, root, snapshot, capfd):
    script.prepare(archive, root)
    before = snapshot(root)
    archive.unlink()
    capfd.readouterr()
    script.prepare(archive, root, download_it=True)
    assert capfd.readouterr() == (f"{root}: is complete; nothing to do\n", "")
    assert snapshot(root) == before


@pytest.mark.parametrize("folders", [0, 2, 4])
def test_killed_as_a_folder_is_about_to_get_its_name(archive, root, snapshot, folders):
    killed = f"""if True:
        import os, signal
        from pathlib import Path
        from scripts import prepare_tiny_imagenet as script
        script.MD5, script.CLASSES, script.TRAIN, script.VALIDATION = {(script.MD5, 3, TRAIN, VALIDATION)!r}
        syncs = iter(range(99))
        os.sync = lambda: next(syncs) == {folders} and os.kill(os.getpid(), signal.SIGKILL)
        script.prepare(Path({str(archive)!r}), Path({str(root)!r}))
    """
    done = subprocess.run(
        [sys.executable, "-c", killed], cwd=REPOSITORY, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert any((root / ".unfinished").iterdir())  # what it left behind
    before = {path.relative_to(root): snapshot(path) for path in root.glob("[tv]*/*")}
    assert len(before) == folders
    whole = {name for name in EXPECTED if Path(name).parent in before}
    assert {name: i for name, i in contents(root).items() if name[0] != "."} == {
        n: EXPECTED[n] for n in whole
    }

    script.prepare(archive, root)
    assert contents(root) == EXPECTED
    assert {path: snapshot(root / path) for path in before} == before
    assert not (root / ".unfinished").exists()


def test_another_file_is_refused_by_its_md5(archive, root):
    wanted = script.MD5
    archive.write_bytes(archive.read_bytes() + b"\0")
    assert refused(archive, root).startswith(
        f"{archive}: its MD5 is {md5_of(archive)}, the published one {wanted}"
    )
    assert contents(root) == {}


def test_a_missing_zip_says_how_to_get_it(archive, root):
    archive.unlink()
    assert refused(archive, root) == f"{archive}: not there: --download gets it from {script.URL}"


DAMAGES = {
    "an image altered": lambda content: content.replace(TRAINING[f"{WNIDS[1]}_2.JPEG"][-40:], bytes(40)),
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "no zip": lambda content: b"this is no zip" * 100,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_zip_is_one_line_and_no_class_is_short(archive, root, damage):
    with zipfile.ZipFile(archive, "w") as zipped:  # stored, so that an image can be found in it
        for name, content in members().items():
            zipped.writestr(name, content)
    content = archive.read_bytes()
    archive.write_bytes(DAMAGES[damage](content))
    assert archive.read_bytes() != content
    assert refused(archive, root, verify=False).startswith(f"{archive}: damaged (")
    assert not (root / "train" / WNIDS[1]).exists()
    assert contents(root).items() <= EXPECTED.items()


PREFIX = "tiny-imagenet-200"
OTHERS = {
    "an image too few": {f"{PREFIX}/train/{WNIDS[0]}/images/{WNIDS[0]}_0.JPEG": None},
    "a validation image too few": {f"{PREFIX}/val/images/val_0.JPEG": None},
    "an image too many": {f"{PREFIX}/train/{WNIDS[0]}/images/{WNIDS[0]}_9.JPEG": b"more"},
    "a class too many": {
        f"{PREFIX}/train/n00000099/images/n00000099_{n}.JPEG": b"more" for n in range(TRAIN)
    },
    "a validation class that leads out": {
        f"{PREFIX}/val/val_annotations.txt": ANNOTATIONS.replace(WNIDS[1], "../../../evil").encode()
    },
    "an image without a label": {f"{PREFIX}/val/images/val_6.JPEG": b"more"},
    "no labels": {f"{PREFIX}/val/val_annotations.txt": None},
    "labels that are none": {f"{PREFIX}/val/val_annotations.txt": b"val_0.JPEG\nval_1.JPEG\n"},
}


@pytest.mark.parametrize("case", OTHERS)
def test_another_content_is_refused_before_anything_is_written(archive, root, case):
    write_zip(archive, {name: c for name, c in (members() | OTHERS[case]).items() if c is not None})
    assert refused(archive, root, verify=False).startswith(f"{archive}: ")
    assert contents(root) == {}
    assert not list(root.parents[1].rglob("evil*"))


def test_names_that_lead_out_of_the_tree_are_not_taken(archive, root, tmp_path):
    hostile = (
        "../evil.JPEG",
        f"{tmp_path}/evil.JPEG",
        f"{PREFIX}/train/{WNIDS[0]}/images/../../../../../evil.JPEG",
        f"{PREFIX}/val/images/../../../evil.JPEG",
        f"{PREFIX}/train/../{WNIDS[0]}/images/{WNIDS[0]}_7.JPEG",
    )
    write_zip(archive, members() | dict.fromkeys(hostile, b"evil"))
    script.prepare(archive, root, verify=False)
    assert contents(root) == EXPECTED
    assert {p for p in tmp_path.rglob("*") if p.is_file() and root not in p.parents} == {archive}


def test_download(archive, root, monkeypatch):
    monkeypatch.setattr(script, "URL", archive.as_uri())
    target = root / "tiny-imagenet-200.zip"
    script.prepare(target, root, download_it=True)
    assert target.read_bytes() == archive.read_bytes()
    assert {name: image for name, image in contents(root).items() if name != target.name} == EXPECTED


class Response(io.BytesIO):
    """A response whose connection breaks off."""

    headers = Message()
    headers["Content-Length"] = "1000"


def test_a_download_that_fails_is_one_line(archive, root, monkeypatch):
    target = root / "tiny.zip"
    for url, reason in (
        ("http://127.0.0.1:1/tiny.zip", "Connection refused"),
        ((archive.parent / "absent.zip").as_uri(), "No such file"),
    ):
        monkeypatch.setattr(script, "URL", url)
        line = refused(target, root, download_it=True)
        assert line.startswith(f"{url}: download failed (")
        assert reason in line
    monkeypatch.setattr(script.urllib.request, "urlopen", lambda *_, **__: Response(bytes(400)))
    assert "cut off after 400 of 1000 bytes" in refused(target, root, download_it=True)
    assert not target.exists()


def test_the_command(archive, root, monkeypatch, capfd):
    def command(*arguments):
        monkeypatch.setattr(
            sys, "argv", ["prepare_tiny_imagenet.py", *map(str, arguments), "--root", str(root)]
        )
        script.main()

    with pytest.raises(SystemExit) as stop:
        command()
    assert stop.value.code == (
        f"prepare_tiny_imagenet.py: {root / 'tiny-imagenet-200.zip'}: not there: "
        f"--download gets it from {script.URL}"
    )
    with monkeypatch.context() as patch:
        patch.setattr(os, "sync", lambda: signal.raise_signal(signal.SIGINT))
        with pytest.raises(SystemExit) as stop:
            command(archive)
    assert stop.value.code == 130
    assert capfd.readouterr().err == "prepare_tiny_imagenet.py: stopped; the same command continues\n"
    monkeypatch.setattr(script, "MD5", "another")
    command(archive, "--no-verify")
    assert contents(root) == EXPECTED


def test_what_is_published():
    assert (script.CLASSES, script.TRAIN, script.VALIDATION) == (200, 500, 50)
    assert script.URL == "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
