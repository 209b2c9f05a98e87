"""Damaged, hostile or missing archives of Tiny ImageNet: one line, little memory, and nothing left behind."""

import struct
import zipfile

import pytest
from damage import FLIPS, LARGE, flipped, outcome, peak_of
from test_tiny_imagenet import archive, members, write_zip  # noqa: F401  (archive: a fixture)

from scripts import prepare_tiny_imagenet

METHODS = (*range(1, 20), 93, 95, 96, 97, 98, 99, 255, 65_535)


@pytest.mark.parametrize("where", ["an image", "the annotations"])
@pytest.mark.parametrize("method", [*METHODS, "encrypted", "strongly encrypted", "patched"])
def test_a_zip_of_another_kind(archive, root, snapshot, method, where):  # noqa: F811
    """Every compression method except 0, and the encryption flags."""
    inside = members()
    name = next(name for name in inside if ("_0.JPEG" if where == "an image" else "annotations") in name)
    with zipfile.ZipFile(archive, "w") as zipped:
        for each, content in inside.items():
            zipped.writestr(each, content)
    content = bytearray(archive.read_bytes())
    flag = {"encrypted": 1, "strongly encrypted": 65, "patched": 32}.get(method)
    for signature, flags, length in ((b"PK\3\4", 6, 30), (b"PK\1\2", 8, 46)):
        at = content.index(signature)
        while bytes(content[at + length :][: len(name)]).decode(errors="replace") != name:
            at = content.index(signature, at + 1)
        if flag is None:
            content[at + flags + 2 : at + flags + 4] = struct.pack("<H", method)
        else:
            content[at + flags : at + flags + 2] = struct.pack("<H", flag)
    archive.write_bytes(content)
    line = outcome(lambda: prepare_tiny_imagenet.prepare(archive, root, md5=False))
    assert line.startswith(f"{archive}: damaged (")
    assert not root.exists()


@pytest.mark.parametrize(
    "compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_flipped_bits_of_a_zip(archive, tmp_path, compression):  # noqa: F811
    with zipfile.ZipFile(archive, "w", compression) as zipped:
        for name, content in members().items():
            zipped.writestr(name, content)
    whole = archive.read_bytes()
    for seed in range(FLIPS):
        archive.write_bytes(flipped(whole, seed))
        root = tmp_path / f"tree{seed}"
        line = outcome(lambda root=root: prepare_tiny_imagenet.prepare(archive, root, md5=False))
        assert line == "" or line.startswith((f"{archive}: ", f"{root}")), (seed, line)
        assert not list(root.glob(".*"))


def test_a_large_member_of_a_zip_is_not_read_whole(archive, root):  # noqa: F811
    inside = members()
    name = next(name for name in inside if name.endswith("_0.JPEG"))
    write_zip(archive, {**inside, name: bytes(LARGE)})
    assert archive.stat().st_size < LARGE / 100
    peak = peak_of(lambda: prepare_tiny_imagenet.prepare(archive, root, md5=False))
    assert peak < LARGE / 4


def test_annotations_of_any_size_are_not_read_whole(archive, root):  # noqa: F811
    name = next(name for name in members() if "annotations" in name)
    write_zip(archive, {**members(), name: bytes(LARGE)})
    peak = peak_of(lambda: outcome(lambda: prepare_tiny_imagenet.prepare(archive, root, md5=False)))
    assert peak < 3 * LARGE / 4


@pytest.mark.parametrize("below", ["tree", "new/folders/tree"])
@pytest.mark.parametrize("failure", ["not there", "another", "no zip", "a folder"])
def test_a_failed_command_leaves_nothing_of_tiny_imagenet(archive, tmp_path, snapshot, failure, below):  # noqa: F811
    if failure in ("not there", "a folder"):
        archive.unlink()
    if failure == "a folder":
        archive.mkdir()
    if failure in ("another", "no zip"):
        archive.write_bytes(b"another")
    before = snapshot(tmp_path)
    line = outcome(lambda: prepare_tiny_imagenet.prepare(archive, tmp_path / below, md5=failure != "no zip"))
    assert line
    assert snapshot(tmp_path).keys() == before.keys()
