"""Extracts ImageNet (LSVRC2012) from the official archives to the folder tree of data=imagenet.

    python scripts/prepare_imagenet.py ~/downloads                       to data/imagenet
    python scripts/prepare_imagenet.py ~/downloads --root /scratch/imagenet

The tree is {train,val}/<wnid>/*.JPEG. One folder must contain these archives under their official names. They
are on the page "ILSVRC 2012" of image-net.org, which requires an account and agreement to its terms:

    ILSVRC2012_img_train.tar        138 GiB   "Training images (Task 1 & 2)"
    ILSVRC2012_img_val.tar          6.3 GiB   "Validation images (all tasks)"
    ILSVRC2012_devkit_t12.tar.gz    2.5 MB    "Development kit (Task 1 & 2)"

Their MD5 and the number of extracted images are verified. The tree takes another 147 GiB in 1,331,167 files.
The checksums take 5 to 15 minutes, the extraction about half an hour on an SSD, and hours on a hard disk or a
busy network file system. train/ and val/ each appear when complete; a stopped command can be repeated to do
the rest. The archives are not changed, and are not needed afterwards.
"""

import argparse
import re
import sys
import tarfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import IO

from torchvision.datasets.imagenet import ARCHIVE_META, load_meta_file, parse_devkit_archive

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this clone's code, whichever is installed

from bn.data.tree import Split
from bn.errors import ArgumentParser, UserError, reason_of
from bn.files import REPOSITORY
from scripts.prepared import Counts, is_complete, publish, unfinished_tree, verify, write_image

SPLITS: tuple[Split, ...] = ("train", "val")
COUNTS = Counts(classes=1000, train=1_281_167, val=50_000)


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archives", type=Path, help="folder with the three archives")
    parser.add_argument(
        "--root", type=Path, default=REPOSITORY / "data/imagenet", help="root of the tree (%(default)s)"
    )
    parser.add_argument(
        "--no-verify", action="store_true", help="skip the MD5 of the image archives; still count images"
    )
    arguments = parser.parse_args()
    try:
        prepare(arguments.archives, arguments.root, md5=not arguments.no_verify)
    except (UserError, OSError) as error:
        sys.exit(f"prepare_imagenet.py: {reason_of(error)}")
    except KeyboardInterrupt:
        sys.exit(130)


def prepare(archives: Path, root: Path, md5: bool = True) -> None:
    """Create the missing parts of the tree `root`. UserError for a missing or damaged archive."""
    if not is_complete(root, COUNTS):
        archive = {part: archives.resolve() / file for part, (file, _) in ARCHIVE_META.items()}
        if missing := [path.name for path in archive.values() if not path.is_file()]:
            raise UserError(f"{archives}: no {', '.join(missing)}: see --help for where to download them")
        verify(archive["devkit"], ARCHIVE_META["devkit"][1])
        with unfinished_tree(root) as unfinished:
            parse_devkit_archive(unfinished, str(archive["devkit"]))
            classes, labels = load_meta_file(unfinished)
            for split in SPLITS:
                if (root / split).exists():
                    continue
                print(f"{archive[split]}: to {root / split}", flush=True)
                if md5:
                    verify(archive[split], ARCHIVE_META[split][1])
                try:
                    if split == "train":
                        extract_train(archive[split], unfinished / split, classes)
                    else:
                        extract_validation(archive[split], unfinished / split, labels)
                except tarfile.TarError as error:
                    raise UserError(f"{archive[split]}: damaged ({error}): download it again") from error
                publish(unfinished, split, root, COUNTS, archive[split])
        if not is_complete(root, COUNTS):
            raise UserError(f"{root}: incomplete: remove it and run again")
    print(f"{root}: complete: {COUNTS}")


def extract_train(archive: Path, train: Path, classes: Collection[str]) -> None:
    """Extract the inner tars, one per class, without unpacking the outer one."""
    for name, inner in files(archive):
        wnid = name.removesuffix(".tar")
        if name != f"{wnid}.tar" or wnid not in classes:
            raise UserError(f"{archive}: unexpected member {name!r}")
        for image, content in files(None, inner):
            if not re.fullmatch(rf"{wnid}_\d+\.JPEG", image):
                raise UserError(f"{archive}: {name}: unexpected member {image!r}")
            write_image(content, train / wnid / image)


def extract_validation(archive: Path, val: Path, labels: Sequence[str]) -> None:
    """Extract the images into the folders of their classes: image n, from 1, has class `labels[n - 1]`."""
    for image, content in files(archive):
        named = re.fullmatch(r"ILSVRC2012_val_(\d{8})\.JPEG", image)
        if not named or not 1 <= int(named[1]) <= len(labels):
            raise UserError(f"{archive}: unexpected member {image!r}")
        write_image(content, val / labels[int(named[1]) - 1] / image)


def files(archive: Path | None, inner: IO[bytes] | None = None) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield name and content of the members of a tar, or of a tar in another.

    tarfile.ReadError for damage and for a member that is not a regular file. A tar cut off between members
    raises no error: the images are counted later.
    """
    with tarfile.open(archive, "r:", inner, tarinfo=Header) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isreg() and not member.issparse() else None
            if content is None:
                raise tarfile.ReadError(f"{member.name!r} is not a regular file")
            yield member.name, content


class Header(tarfile.TarInfo):
    """A header with bounded extensions, which tarfile reads into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "Header":
        header = super().frombuf(buf, encoding, errors)
        if header.type in (b"L", b"K", b"x", b"g", b"X") and header.size > 1 << 20:
            raise tarfile.ReadError(f"an extended header of {header.size} bytes")
        return header


if __name__ == "__main__":
    main()
