"""Extracts ImageNet (LSVRC2012) from the official archives to the tree that data=imagenet reads.

    python scripts/prepare_imagenet.py ~/downloads                       to data/imagenet
    python scripts/prepare_imagenet.py ~/downloads --root /scratch/imagenet

The tree is {train,val}/<wnid>/*.JPEG. One folder must hold these archives under their official names; the
page "ILSVRC 2012" of image-net.org has them, for an account and agreement to its terms:

    ILSVRC2012_img_train.tar        138 GiB   "Training images (Task 1 & 2)"
    ILSVRC2012_img_val.tar          6.3 GiB   "Validation images (all tasks)"
    ILSVRC2012_devkit_t12.tar.gz    2.5 MB    "Development kit (Task 1 & 2)"

torchvision verifies and extracts them. The tree takes as much space again, 147 GiB in 1,331,167 files. The
checksums take 5 to 15 minutes, the extraction about half an hour on an SSD, and hours on a hard disk or a
busy network file system. Each of the two folders appears when it is complete; if the command is stopped, the
same command does what is missing. The archives stay unchanged and are not needed afterwards.
"""

import argparse
import sys
from pathlib import Path

from torchvision.datasets.imagenet import (
    ARCHIVE_META,
    parse_devkit_archive,
    parse_train_archive,
    parse_val_archive,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this clone's code, whichever is installed

from bn.errors import Arguments, UserError, reason_of
from bn.run.directory import REPOSITORY
from scripts.prepared import Counts, is_complete, publish, unfinished_tree

COUNTS = Counts(classes=1000, train=1_281_167, val=50_000)


def main() -> None:
    parser = Arguments(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archives", type=Path, help="the folder with the three archives")
    parser.add_argument(
        "--root", type=Path, default=REPOSITORY / "data/imagenet", help="root of the tree (%(default)s)"
    )
    arguments = parser.parse_args()
    try:
        prepare(arguments.archives, arguments.root)
    except (UserError, OSError) as error:
        sys.exit(f"prepare_imagenet.py: {reason_of(error)}")
    except KeyboardInterrupt:
        sys.exit(130)


def prepare(archives: Path, root: Path) -> None:
    """Make what is missing of the tree `root`. UserError with one line, also for a damaged archive."""
    if not is_complete(root, COUNTS):
        names = {part: archives.resolve() / file for part, (file, _) in ARCHIVE_META.items()}
        if missing := [path.name for path in names.values() if not path.is_file()]:
            raise UserError(f"{archives}: no {', '.join(missing)} there: --help says where to download them")
        with unfinished_tree(root) as unfinished:
            try:
                parse_devkit_archive(unfinished, str(names["devkit"]))  # first: the classes of `val`
                for split, parse in (("train", parse_train_archive), ("val", parse_val_archive)):
                    if not (root / split).exists():
                        print(f"{names[split]}: verified and extracted, to {root / split}", flush=True)
                        parse(unfinished, str(names[split]))
                        publish(unfinished / split, root)
            except RuntimeError as error:
                if "corrupted" not in str(error):  # torchvision's, if an MD5 differs
                    raise
                raise UserError(f"{str(error).splitlines()[0]} (MD5): download it again") from error
        if not is_complete(root, COUNTS):
            raise UserError(f"{root}: incomplete: remove it and run again")
    print(f"{root}: complete: {COUNTS}")


if __name__ == "__main__":
    main()
