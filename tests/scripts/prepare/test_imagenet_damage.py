"""scripts/prepare_imagenet.py: a missing, damaged, other or hostile archive is refused in one line."""

import io
import tarfile

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
    assert_whole,
    contents,
    md5_of,
    packed,
)

from scripts import prepare_imagenet


@pytest.mark.parametrize("name", [TRAIN, VAL, DEVKIT])
def test_another_archive_under_the_name_is_refused(archives, root, refused, name):
    archive = archives / name
    wanted = md5_of(archive)
    archive.write_bytes(archive.read_bytes() + b"\0")
    found = md5_of(archive)
    assert refused().startswith(f"{archive}: its MD5 is {found}, the published one {wanted}: ")
    assert contents(root) == {}


def test_the_devkit_is_verified_without_verification_too(archives, root, refused):
    (archives / DEVKIT).write_bytes(b"another")
    assert refused(verify=False).startswith(f"{archives / DEVKIT}: its MD5 is ")


def test_all_missing_archives_are_named(archives, root, refused):
    for name in (TRAIN, DEVKIT):
        (archives / name).unlink()
    line = refused()
    assert line.startswith(f"{archives}: no {TRAIN}, {DEVKIT} there")
    assert VAL not in line


def damaged_inner(inner):
    """The outer archive with this for the tar of the second class."""
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
def test_a_damaged_class_is_named_and_does_not_appear(archives, root, refused, damage):
    (archives / TRAIN).write_bytes(damaged_inner(DAMAGES[damage]))
    line = refused(verify=False)
    assert line.startswith(f"{archives / TRAIN}: {WNIDS[1]}.tar: damaged (")
    assert [path.name for path in (root / "train").iterdir()] == [WNIDS[0]]
    assert_whole(root)


def test_wherever_a_tar_is_cut_it_is_noticed():
    with tarfile.open(fileobj=io.BytesIO(SECOND)) as tar:
        last = tar.getmembers()[-1]
        end = last.offset_data + -(-last.size // 512) * 512
    for size in (*range(0, end + 512, 512), *range(100, end + 512, 512)):
        with pytest.raises(tarfile.ReadError), tarfile.open(fileobj=io.BytesIO(SECOND[:size])) as tar:
            list(prepare_imagenet.files(tar))
    for size in (end + 512, len(SECOND)):
        with tarfile.open(fileobj=io.BytesIO(SECOND[:size])) as tar:
            assert [member.name for member in prepare_imagenet.files(tar)] == [*PHOTOGRAPHS[WNIDS[1]]]


@pytest.mark.parametrize("name", [TRAIN, VAL])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.0])
def test_a_truncated_archive_is_named(archives, root, refused, name, share):
    content = (archives / name).read_bytes().rstrip(b"\0")
    (archives / name).write_bytes(content[: int(share * len(content))])
    assert refused(verify=False).startswith(f"{archives / name}: damaged (")
    assert not (root / ("train" if name == TRAIN else "val")).exists()


def test_a_class_too_few_and_an_image_too_few(archives, root, refused):
    (archives / TRAIN).write_bytes(packed([*INNER.items()][1:]))
    assert refused(verify=False) == f"{archives / TRAIN}: 2 classes, 3 expected"
    (archives / TRAIN).write_bytes(packed(INNER.items()))
    (archives / VAL).write_bytes(packed([*VALIDATION.items()][1:]))
    assert refused(verify=False) == f"{archives / VAL}: 6 images, 7 expected"
    assert not (root / "val").exists()


def test_an_image_removed_from_a_finished_tree_is_counted(archives, root, refused):
    prepare_imagenet.prepare(archives, root)
    next((root / "train" / WNIDS[2]).iterdir()).unlink()
    assert refused().startswith(f"{root / 'train'}: 11 images, 12 expected: remove this folder")


def link(name, target):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, str(target)
    return info


PASSWD = "/etc/passwd"
# Each stands in for a good member, so that numbers do not give it away.
GOOD = [*PHOTOGRAPHS[WNIDS[1]].items()][1:]
LINK = link(f"{WNIDS[1]}_1.JPEG", "/etc/passwd")
OUTER = [*INNER.items()][1:]
NUMBERED = [*VALIDATION.items()][1:]
HOSTILE = {
    "up in a class": (TRAIN, damaged_inner(packed([*GOOD, ("../evil.JPEG", b"evil")]))),
    "up under a good name": (TRAIN, damaged_inner(packed([*GOOD, (f"../{WNIDS[1]}_1.JPEG", b"evil")]))),
    "absolute": (TRAIN, damaged_inner(packed([*GOOD, (f"/tmp/{WNIDS[1]}_1.JPEG", b"evil")]))),
    "a link": (TRAIN, damaged_inner(packed([*GOOD, (LINK, b"")]))),
    "up in the outer archive": (TRAIN, packed([*OUTER, (f"../{WNIDS[0]}.tar", SECOND)])),
    "no class": (TRAIN, packed([*OUTER, (f"{INTERNAL}.tar", packed([(f"{INTERNAL}_1.JPEG", b"evil")]))])),
    "up in validation": (VAL, packed([*NUMBERED, ("../ILSVRC2012_val_00000001.JPEG", b"evil")])),
    "number without a label": (VAL, packed([*NUMBERED, ("ILSVRC2012_val_00000008.JPEG", b"evil")])),
    "number zero": (VAL, packed([*NUMBERED, ("ILSVRC2012_val_00000000.JPEG", b"evil")])),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_member_that_does_not_belong_is_refused(archives, root, refused, case):
    name, content = HOSTILE[case]
    (archives / name).write_bytes(content)
    line = refused(verify=False)
    assert line.startswith(f"{archives / name}: ")
    assert "not what" in line or "is no file" in line
    assert_whole(root)
    assert contents(root).items() <= EXPECTED.items()
    outside = [path for path in root.parents[1].rglob("*") if root not in (path, *path.parents)]
    assert sorted(path.name for path in outside if not path.is_dir()) == sorted((TRAIN, VAL, DEVKIT))
