"""Damaged, hostile or missing archives: one line, little memory, and nothing left behind."""

import io
import random
import struct
import tarfile
import tracemalloc
import zipfile

import pytest
from small_lsvrc2012 import (
    DEVKIT,
    EXPECTED,
    INNER,
    INTERNAL,
    PHOTOGRAPHS,
    TRAIN,
    VAL,
    VALIDATION,
    WNIDS,
    contents,
    packed,
)  # fmt: skip
from test_tiny_imagenet import archive, members, write_zip  # noqa: F401  (archive: a fixture)

from bn.errors import UserError
from scripts import prepare_imagenet, prepare_tiny_imagenet

pytestmark = pytest.mark.filterwarnings("ignore:Python 3.14 will:DeprecationWarning")  # from torchvision

FLIPS = 150
LARGE = 48 << 20


def outcome(prepare):
    """The message of the UserError, or "" without one. Other exceptions propagate."""
    try:
        prepare()
    except UserError as error:
        line = str(error)
    else:
        return ""
    assert "\n" not in line
    return line


def flipped(content, seed):
    draw = random.Random(seed)
    damaged = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 5))):
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
    return bytes(damaged)


def peak_of(work):
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


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


@pytest.mark.slow
@pytest.mark.parametrize("name", [TRAIN, VAL])
def test_flipped_bits_of_a_tar(archives, tmp_path, name):
    whole = (archives / name).read_bytes()
    for seed in range(FLIPS):
        (archives / name).write_bytes(flipped(whole, seed))
        root = tmp_path / f"tree{seed}"
        line = outcome(lambda root=root: prepare_imagenet.prepare(archives, root, md5=False))
        assert line == "" or line.startswith((f"{archives / name}: ", f"{root}")), (seed, line)
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


def test_a_large_member_of_a_tar_is_not_read_whole(archives, root):
    images = {**PHOTOGRAPHS[WNIDS[1]]}
    images[next(iter(images))] = bytes(LARGE)
    (archives / TRAIN).write_bytes(packed({**INNER, f"{WNIDS[1]}.tar": packed(images.items())}.items()))
    assert peak_of(lambda: prepare_imagenet.prepare(archives, root, md5=False)) < LARGE / 4


def header(name, kind, size, real_size=None):
    """A member header in GNU format; with `real_size`, a sparse file without data."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    if real_size is not None:
        block[483:495] = b"%011o\0" % real_size
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


END = bytes(1024)
IN_A_CLASS = f"{WNIDS[1]}_7.JPEG"
TARS = {
    "a sparse image": (IN_A_CLASS, tarfile.GNUTYPE_SPARSE, 0, 4 << 30),
    "a long name": ("././@LongLink", tarfile.GNUTYPE_LONGNAME, LARGE, None),
    "a long link": ("././@LongLink", tarfile.GNUTYPE_LONGLINK, LARGE, None),
    "a pax header": ("./PaxHeaders/x", tarfile.XHDTYPE, LARGE, None),
    "a global pax header": ("pax_global_header", tarfile.XGLTYPE, LARGE, None),
    "Solaris' header": ("./PaxHeaders/x", tarfile.SOLARIS_XHDTYPE, LARGE, None),
}


@pytest.mark.slow
@pytest.mark.parametrize("place", ["outer", "inner", "validation"])
@pytest.mark.parametrize("kind", TARS)
def test_headers_that_announce_gigabytes(archives, root, kind, place):
    name, *how = TARS[kind]
    images = [*PHOTOGRAPHS[WNIDS[1]].items()]
    if place == "validation":
        name = name.replace(IN_A_CLASS, next(iter(VALIDATION)))
    if place == "outer":
        name = name.replace(IN_A_CLASS, f"{WNIDS[1]}.tar")
    member = header(name, *how) + bytes(how[1])
    rest = {
        "inner": packed(images[1:]),
        "outer": packed((n, c) for n, c in INNER.items() if n != f"{WNIDS[1]}.tar"),
        "validation": packed([*VALIDATION.items()][1:]),
    }[place]
    content = member + rest
    if place == "inner":
        content = packed({**INNER, f"{WNIDS[1]}.tar": content}.items())
    (archives / (VAL if place == "validation" else TRAIN)).write_bytes(content)
    found = []
    peak = peak_of(lambda: found.append(outcome(lambda: prepare_imagenet.prepare(archives, root, md5=False))))
    assert str(archives) in found[0]
    assert peak < LARGE / 2


FAILURES = {
    "no archives": lambda folder: [path.unlink() for path in folder.iterdir()],
    "no devkit": lambda folder: (folder / DEVKIT).unlink(),
    "another devkit": lambda folder: (folder / DEVKIT).write_bytes(b"another"),
    "another archive": lambda folder: (folder / TRAIN).write_bytes(b"another"),
    "no folder": lambda folder: folder.rename(folder.with_name("moved")),
}


@pytest.mark.parametrize("below", ["tree", "new/folders/tree"])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failed_command_leaves_nothing_of_its_own(archives, tmp_path, snapshot, failure, below):
    FAILURES[failure](archives)
    before = snapshot(tmp_path)
    assert outcome(lambda: prepare_imagenet.prepare(archives, tmp_path / below))
    assert snapshot(tmp_path).keys() == before.keys()


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


def test_folders_that_were_there_stay(archives, tmp_path, snapshot):
    (tmp_path / "tree").mkdir()
    (archives / DEVKIT).unlink()
    before = snapshot(tmp_path)
    assert outcome(lambda: prepare_imagenet.prepare(archives, tmp_path / "tree"))
    assert snapshot(tmp_path).keys() == before.keys()


def test_an_empty_stream_is_not_an_archive(archives, root):
    (archives / VAL).write_bytes(io.BytesIO().getvalue())
    assert outcome(lambda: prepare_imagenet.prepare(archives, root, md5=False)).startswith(
        f"{archives / VAL}: damaged"
    )


def damaged_inner(inner):
    """The outer archive with the given bytes as the tar of the second class."""
    return packed({**INNER, f"{WNIDS[1]}.tar": inner}.items())


SECOND = INNER[f"{WNIDS[1]}.tar"]
HEADERS = [m.offset for m in tarfile.open(fileobj=io.BytesIO(SECOND)).getmembers()]  # noqa: SIM115
DAMAGES = {
    "cut in an image": SECOND[: HEADERS[2] + 600],
    "cut in a header": SECOND[: HEADERS[2] + 100],
    "cut between two images": SECOND[: HEADERS[2]],
    "a header overwritten": SECOND[: HEADERS[2]] + b"\1" * 512 + SECOND[HEADERS[2] + 512 :],
    "empty": b"",
    "no tar": b"this is no tar " * 100,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_class(archives, root, damage):
    (archives / TRAIN).write_bytes(damaged_inner(DAMAGES[damage]))
    line = outcome(lambda: prepare_imagenet.prepare(archives, root, md5=False))
    assert line.startswith(f"{archives / TRAIN}: damaged")
    assert not root.exists()


@pytest.mark.parametrize("name", [TRAIN, VAL])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.0])
def test_a_truncated_archive(archives, root, name, share):
    content = (archives / name).read_bytes().rstrip(b"\0")
    (archives / name).write_bytes(content[: int(share * len(content))])
    line = outcome(lambda: prepare_imagenet.prepare(archives, root, md5=False))
    assert line.startswith(f"{archives / name}: damaged")
    assert [path.name for path in root.glob("*")] == (["train"] if name == VAL else [])


def member(name, kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


# Each replaces a valid member, so that the counts still match.
GOOD = [*PHOTOGRAPHS[WNIDS[1]].items()][1:]
OUTER = [*INNER.items()][1:]
NUMBERED = [*VALIDATION.items()][1:]
ONE = f"{WNIDS[1]}_1.JPEG"
IN_CLASS = {
    "up": ("../evil.JPEG", b"evil"),
    "up under a good name": (f"../{ONE}", b"evil"),
    "absolute": (f"/tmp/{ONE}", b"evil"),
    "a name with a line break": (f"{ONE}\n", b"evil"),
    "a link": (member(ONE, tarfile.SYMTYPE, "/etc/passwd"), b""),
    "a link within the tree": (member(ONE, tarfile.SYMTYPE, GOOD[0][0]), b""),
    "a hard link": (member(ONE, tarfile.LNKTYPE, GOOD[0][0]), b""),
    "a pipe": (member(ONE, tarfile.FIFOTYPE), b""),
    "a device": (member(ONE, tarfile.CHRTYPE), b""),
    "a folder": (member(ONE, tarfile.DIRTYPE), b""),
    "an image twice": GOOD[0],
}
HOSTILE = {
    **{
        f"{kind}, in a class": (TRAIN, damaged_inner(packed([*GOOD, evil])))
        for kind, evil in IN_CLASS.items()
    },
    "up in the outer archive": (TRAIN, packed([*OUTER, (f"../{WNIDS[0]}.tar", SECOND)])),
    "a link for a class": (
        TRAIN,
        packed([*OUTER, (member(f"{WNIDS[0]}.tar", tarfile.SYMTYPE, "/etc"), b"")]),
    ),
    "no class": (TRAIN, packed([*OUTER, (f"{INTERNAL}.tar", packed([(f"{INTERNAL}_1.JPEG", b"evil")]))])),
    "up in validation": (VAL, packed([*NUMBERED, ("../ILSVRC2012_val_00000001.JPEG", b"evil")])),
    "number without a label": (VAL, packed([*NUMBERED, ("ILSVRC2012_val_00000008.JPEG", b"evil")])),
    "number zero": (VAL, packed([*NUMBERED, ("ILSVRC2012_val_00000000.JPEG", b"evil")])),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_member_that_does_not_belong_is_refused(archives, root, case):
    name, content = HOSTILE[case]
    (archives / name).write_bytes(content)
    line = outcome(lambda: prepare_imagenet.prepare(archives, root, md5=False))
    assert line.startswith((f"{archives / name}: ", f"{GOOD[0][0]}: twice in its archive"))
    assert contents(root).items() <= EXPECTED.items()
    outside = [path for path in root.parents[1].rglob("*") if root not in (path, *path.parents)]
    assert sorted(path.name for path in outside if not path.is_dir()) == sorted((TRAIN, VAL, DEVKIT))
