"""Extracts Tiny ImageNet from Stanford's zip to the folder tree of data=tiny_imagenet.

    python scripts/prepare_tiny_imagenet.py --download                    download it first (248 MB)
    python scripts/prepare_tiny_imagenet.py ~/downloads/tiny-imagenet-200.zip

The tree is {train,val}/<wnid>/*.JPEG: 200 classes of ImageNet at 64x64, with 500 training and 50 validation
images each. The test images have no public labels and are not extracted. The tree takes about 450 MB in
110,000 files, and a minute. train/ and val/ each appear when complete.
"""

import argparse
import lzma
import re
import sys
import zipfile
import zlib
from http.client import HTTPException
from pathlib import Path

from torchvision.datasets.utils import download_url

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this clone's code, whichever is installed

from bn.errors import ArgumentParser, UserError, reason_of
from bn.files import REPOSITORY, no_empty_folders
from scripts.prepared import Counts, is_complete, publish, unfinished_tree, verify, write_image

ZIP = "tiny-imagenet-200.zip"
URL = f"http://cs231n.stanford.edu/{ZIP}"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"  # from other publishers, which agree; Stanford publishes none
COUNTS = Counts(classes=200, train=100_000, val=10_000)
LONGEST_ANNOTATIONS = 1 << 22  # bytes; the published ones are 0.4 MB
# RuntimeError: encrypted or unknown compression. OSError: raised by bz2, without errno.
DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, KeyError, ValueError, RuntimeError, OSError,
)  # fmt: skip


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path, nargs="?", help=f"the zip (ROOT/{ZIP})")
    parser.add_argument("--download", action="store_true", help=f"get the zip from {URL} if it is missing")
    parser.add_argument(
        "--root",
        type=Path,
        default=REPOSITORY / "data/tiny-imagenet-200",
        help="root of the tree (%(default)s)",
    )
    parser.add_argument("--no-verify", action="store_true", help="skip the MD5; still count images")
    arguments = parser.parse_args()
    archive = arguments.archive or arguments.root / ZIP
    try:
        prepare(archive, arguments.root, arguments.download, md5=not arguments.no_verify)
    except (UserError, OSError) as error:
        sys.exit(f"prepare_tiny_imagenet.py: {reason_of(error)}")
    except KeyboardInterrupt:
        sys.exit(130)


def prepare(archive: Path, root: Path, download_it: bool = False, md5: bool = True) -> None:
    """Create the tree `root` from the zip. UserError for a missing or damaged zip."""
    if not is_complete(root, COUNTS):
        if download_it and not archive.is_file():
            download(archive)
        if not archive.is_file():
            raise UserError(f"{archive}: not found: --download gets it from {URL}")
        if md5:
            verify(archive, MD5)
        with unfinished_tree(root) as unfinished:
            extract(archive, unfinished)
            publish(unfinished, "train", root, COUNTS, archive)
            publish(unfinished, "val", root, COUNTS, archive)
        if not is_complete(root, COUNTS):
            raise UserError(f"{root}: incomplete: remove it and run again")
    print(f"{root}: complete: {COUNTS}")


def download(archive: Path) -> None:
    """Download the zip; it gets its name when complete. UserError if that fails."""
    part = archive.with_name(f"{archive.name}.part")
    try:
        with no_empty_folders(archive.parent):
            try:
                download_url(URL, part.parent, part.name, MD5)
                part.rename(archive)
            finally:
                part.unlink(missing_ok=True)
    except (OSError, RuntimeError, HTTPException) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{URL}: download failed ({reason}): download it another way and name it") from error


def extract(archive: Path, unfinished: Path) -> None:
    """Extract tiny-imagenet-200/{train/<wnid>/images,val/images}/*.JPEG; a text file has the classes of val.

    Other members are skipped, so that none can lead out of the tree.
    """
    try:
        with zipfile.ZipFile(archive) as zipped:
            with zipped.open("tiny-imagenet-200/val/val_annotations.txt") as file:
                annotations = file.read(LONGEST_ANNOTATIONS).decode()
            labels = dict(re.findall(r"^(val_\d+\.JPEG)\t(n\d{8})\t", annotations, re.MULTILINE))
            for name in zipped.namelist():
                if named := re.fullmatch(r"tiny-imagenet-200/train/(n\d{8})/images/(\1_\d+\.JPEG)", name):
                    path = unfinished / "train" / named[1] / named[2]
                elif named := re.fullmatch(r"tiny-imagenet-200/val/images/(val_\d+\.JPEG)", name):
                    path = unfinished / "val" / labels[named[1]] / named[1]
                else:
                    continue
                with zipped.open(name) as content:
                    write_image(content, path)
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # an error of the disk
        raise UserError(f"{archive}: damaged ({error}): download it again") from error


if __name__ == "__main__":
    main()
