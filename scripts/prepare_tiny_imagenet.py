"""Extracts Tiny ImageNet from Stanford's zip to the tree that data=tiny_imagenet reads.

    python scripts/prepare_tiny_imagenet.py --download                    downloads it first (248 MB)
    python scripts/prepare_tiny_imagenet.py ~/downloads/tiny-imagenet-200.zip

The tree is {train,val}/<wnid>/*.JPEG: 200 classes of ImageNet at 64x64, with 500 training and 50 validation
images each. The test images have no public labels and are left out. The tree takes about 450 MB in 110,000
files, and a minute. If the command is killed, the same command continues where it stopped; if the tree is
complete, it says so.
"""

import argparse
import contextlib
import lzma
import re
import sys
import urllib.request
import zipfile
import zlib
from collections import defaultdict
from http.client import HTTPException
from pathlib import Path, PurePosixPath

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this clone's code, whichever is installed

from bn.data.archives import (
    byte_bar,
    require_space,
    sole_writer,
    verify_md5,
    verify_tree,
    whole_folder,
    write_member,
)
from bn.errors import Arguments, UserError
from bn.files import whole
from bn.run.directory import REPOSITORY

ZIP = "tiny-imagenet-200.zip"
URL = f"http://cs231n.stanford.edu/{ZIP}"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"  # not Stanford's word, but that of all who publish one
CLASSES, TRAIN, VALIDATION = 200, 500, 50  # the images of each class

LONGEST_ANNOTATIONS = 1 << 22  # bytes; the published ones are 0.4 MB
# RuntimeError: encrypted, or of a method that Python does not know. OSError: bz2's, without a number.
DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, KeyError, ValueError, RuntimeError, OSError,
)  # fmt: skip

Members = dict[str, list[str]]  # of each class, the names in the zip


def main() -> None:
    parser = Arguments(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path, nargs="?", help=f"the zip (ROOT/{ZIP})")
    parser.add_argument("--download", action="store_true", help=f"get the zip from {URL} if it is not there")
    parser.add_argument(
        "--root",
        type=Path,
        default=REPOSITORY / "data/tiny-imagenet-200",
        help="of the tree (%(default)s)",
    )
    parser.add_argument("--no-verify", action="store_true", help="skip the MD5; the counts are verified")
    arguments = parser.parse_args()
    archive = arguments.archive or arguments.root / ZIP
    try:
        prepare(archive, arguments.root, arguments.download, verify=not arguments.no_verify)
    except UserError as error:
        sys.exit(f"prepare_tiny_imagenet.py: {error}")
    except KeyboardInterrupt:
        print("prepare_tiny_imagenet.py: stopped; the same command continues", file=sys.stderr)
        sys.exit(130)


def prepare(archive: Path, root: Path, download_it: bool = False, verify: bool = True) -> None:
    """Make the tree `root`, or what is missing of it, from the zip. UserError with one line."""
    expected = (CLASSES, CLASSES * TRAIN, CLASSES * VALIDATION)
    with contextlib.suppress(UserError):
        verify_tree(root, *expected)
        print(f"{root}: is complete; nothing to do")
        return
    with sole_writer(root) as unfinished:
        if not archive.is_file():
            if not download_it:
                raise UserError(f"{archive}: not there: --download gets it from {URL}")
            download(archive)
        if verify:
            verify_md5(archive, MD5)
        extract(archive, root, unfinished)
    verify_tree(root, *expected)
    print("{}: complete: {} classes, {} training and {} validation images".format(root, *expected))


def download(archive: Path) -> None:
    """The zip under its name when all of it is there. UserError with one line if that fails."""
    try:
        with urllib.request.urlopen(URL, timeout=60) as source, whole(archive) as file:
            length = source.headers["Content-Length"]
            with byte_bar(int(length) if length else None, f"download of {archive.name}") as bar:
                while chunk := source.read(1 << 20):
                    file.write(chunk)
                    bar.update(len(chunk))
            if length and file.tell() != int(length):
                raise OSError(f"cut off after {file.tell()} of {length} bytes")
    except (OSError, HTTPException) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{URL}: download failed ({reason}): download it another way and name it") from error


def extract(archive: Path, root: Path, unfinished: Path) -> None:
    """Each class of each split; those whose folder is there are passed over."""
    try:
        with zipfile.ZipFile(archive) as zipped:
            train, val = listing(zipped)
            images = [image for of_class in (*train.values(), *val.values()) for image in of_class]
            require_space(unfinished, sum(zipped.getinfo(image).file_size for image in images))
            folders = [*((root / "train", *entry) for entry in train.items())]
            folders += ((root / "val", *entry) for entry in val.items())
            for split, wnid, images in tqdm(folders, unit=" folders", disable=None, leave=False):
                if not (split / wnid).is_dir():
                    with whole_folder(split / wnid, unfinished) as folder:
                        for image in images:
                            with zipped.open(image) as content:
                                write_member(content, folder / PurePosixPath(image).name)
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's
        raise UserError(f"{archive}: damaged ({error}): download it again") from error


def listing(zipped: zipfile.ZipFile) -> tuple[Members, Members]:
    """The training and the validation images of each class. UserError if it is not what Stanford's zip holds.

    Only names of these two forms are taken from the zip, so none leads out of the tree.
    """
    with zipped.open("tiny-imagenet-200/val/val_annotations.txt") as file:
        annotations = file.read(LONGEST_ANNOTATIONS).decode()
    labels = dict(line.split("\t")[:2] for line in annotations.splitlines())  # image, class, box
    train: Members = defaultdict(list)
    val: Members = defaultdict(list)
    for member in zipped.namelist():
        if match := re.fullmatch(r"tiny-imagenet-200/train/(n\d{8})/images/\1_\d+\.JPEG", member):
            train[match[1]].append(member)
        elif match := re.fullmatch(r"tiny-imagenet-200/val/images/(val_\d+\.JPEG)", member):
            val[labels[match[1]]].append(member)
    found = {len(images) for images in train.values()}, {len(images) for images in val.values()}
    if len(train) != CLASSES or train.keys() != val.keys() or found != ({TRAIN}, {VALIDATION}):
        raise UserError(
            f"{zipped.filename}: not Tiny ImageNet, which has {CLASSES} classes, each of {TRAIN} training "
            f"and {VALIDATION} validation images"
        )
    return train, val


if __name__ == "__main__":
    main()
