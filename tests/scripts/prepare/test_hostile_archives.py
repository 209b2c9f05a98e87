"""Damaged, hostile or missing archives of ImageNet: one line, little memory, and nothing left behind."""

import io
import tarfile

import pytest
from damage import FLIPS, LARGE, flipped, outcome, peak_of
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

from scripts import prepare_imagenet

pytestmark = pytest.mark.filterwarnings("ignore:Python 3.14 will:DeprecationWarning")  # from torchvision


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
