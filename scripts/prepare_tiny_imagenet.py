"""Extracts Tiny ImageNet from Stanford's zip to the tree that data=tiny_imagenet reads.

    python scripts/prepare_tiny_imagenet.py --download                    downloads it first (248 MB)
    python scripts/prepare_tiny_imagenet.py ~/downloads/tiny-imagenet-200.zip

The tree is {train,val}/<wnid>/*.JPEG: 200 classes of ImageNet at 64x64, with 500 training and 50 validation
images each. The test images have no public labels and are left out. The tree takes about 450 MB in 110,000
files, and a minute. Each of the two folders appears when it is complete.
"""

import argparse
import sys
import zipfile
from http.client import HTTPException
from pathlib import Path

from torchvision.datasets.utils import check_integrity, download_url

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this clone's code, whichever is installed

from bn.errors import Arguments, UserError, reason_of
from bn.run.directory import REPOSITORY
from scripts.prepared import Counts, is_complete, publish, unfinished_tree

ZIP = "tiny-imagenet-200.zip"
URL = f"http://cs231n.stanford.edu/{ZIP}"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"  # not Stanford's word, but that of all who publish one
COUNTS = Counts(classes=200, train=100_000, val=10_000)


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
    arguments = parser.parse_args()
    try:
        prepare(arguments.archive or arguments.root / ZIP, arguments.root, arguments.download)
    except (UserError, OSError) as error:
        sys.exit(f"prepare_tiny_imagenet.py: {reason_of(error)}")
    except KeyboardInterrupt:
        sys.exit(130)


def prepare(archive: Path, root: Path, download_it: bool = False) -> None:
    """Make the tree `root` from the zip. UserError with one line."""
    if not is_complete(root, COUNTS):
        if download_it:
            download(archive)
        if not archive.is_file():
            raise UserError(f"{archive}: not there: --download gets it from {URL}")
        if not check_integrity(archive, MD5):
            raise UserError(f"{archive}: damaged, or not the published file (MD5): download it again")
        with unfinished_tree(root) as unfinished:
            extract(archive, root, unfinished)
        if not is_complete(root, COUNTS):
            raise UserError(f"{root}: incomplete: remove it and run again")
    print(f"{root}: complete: {COUNTS}")


def download(archive: Path) -> None:
    """The zip, if it is not there, or was cut off."""
    try:
        download_url(URL, archive.parent, archive.name, MD5)
    except (OSError, RuntimeError, HTTPException) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{URL}: download failed ({reason}): download it another way and name it") from error


def extract(archive: Path, root: Path, unfinished: Path) -> None:
    """Of the zip tiny-imagenet-200/{train/<wnid>/images,val/images}/*.JPEG; a text has the classes of val."""
    with zipfile.ZipFile(archive) as zipped:
        zipped.extractall(unfinished)
    there = unfinished / "tiny-imagenet-200"
    train, val = unfinished / "train", unfinished / "val"
    for wnid in (there / "train").iterdir():
        (wnid / "images").rename(_folder(train) / wnid.name)
    for line in (there / "val" / "val_annotations.txt").read_text().splitlines():
        image, wnid, *_ = line.split("\t")
        (there / "val" / "images" / image).rename(_folder(val / wnid) / image)
    publish(train, root)
    publish(val, root)


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


if __name__ == "__main__":
    main()
