"""Extracts ImageNet (LSVRC2012) from the official archives to the tree that data=imagenet reads.

    python scripts/prepare_imagenet.py ~/downloads                       to data/imagenet
    python scripts/prepare_imagenet.py ~/downloads --root /scratch/imagenet

The tree is {train,val}/<wnid>/*.JPEG. One folder must hold these archives under their official names; the
page "ILSVRC 2012" of image-net.org has them, for an account and agreement to its terms:

    ILSVRC2012_img_train.tar        138 GiB   "Training images (Task 1 & 2)"
    ILSVRC2012_img_val.tar          6.3 GiB   "Validation images (all tasks)"
    ILSVRC2012_devkit_t12.tar.gz    2.5 MB    "Development kit (Task 1 & 2)"

The tree takes as much space again, 147 GiB in 1,331,167 files; nothing else is written. The checksums take 5
to 15 minutes. The extraction takes about half an hour on an SSD, and hours on a hard disk or a busy network
file system. If the command is killed, the same command continues where it stopped; if the tree is complete,
it says so. The archives stay unchanged and are not needed afterwards.
"""

import argparse
import contextlib
import re
import sys
import tarfile
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from torchvision.datasets.imagenet import ARCHIVE_META, load_meta_file, parse_devkit_archive
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
from bn.run.directory import REPOSITORY

CLASSES, TRAIN, VALIDATION = 1000, 1_281_167, 50_000


def main() -> None:
    parser = Arguments(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archives", type=Path, help="the folder with the three archives")
    parser.add_argument(
        "--root", type=Path, default=REPOSITORY / "data/imagenet", help="root of the tree (%(default)s)"
    )
    parser.add_argument(
        "--no-verify", action="store_true", help="skip the MD5 of the images' archives; counts are verified"
    )
    arguments = parser.parse_args()
    try:
        prepare(arguments.archives, arguments.root, verify=not arguments.no_verify)
    except UserError as error:
        sys.exit(f"prepare_imagenet.py: {error}")
    except KeyboardInterrupt:
        print("prepare_imagenet.py: stopped; the same command continues", file=sys.stderr)
        sys.exit(130)


def prepare(archives: Path, root: Path, verify: bool = True) -> None:
    """Make the tree `root`, or what is missing of it, from the files in `archives`. UserError: one line."""
    with contextlib.suppress(UserError):
        verify_tree(root, CLASSES, TRAIN, VALIDATION)
        print(f"{root}: is complete; nothing to do")
        return
    with sole_writer(root) as unfinished:
        archive = {name: archives / file for name, (file, _) in ARCHIVE_META.items()}
        missing = [path.name for path in archive.values() if not path.is_file()]
        if missing:
            raise UserError(f"{archives}: no {', '.join(missing)} there: --help says where to download them")
        verify_md5(archive["devkit"], ARCHIVE_META["devkit"][1])
        classes, labels = read_devkit(archive["devkit"])
        if verify:
            for split in ("train", "val"):
                verify_once(archive[split], ARCHIVE_META[split][1], root / ".verified")
        extract_train(archive["train"], root / "train", classes, unfinished)
        if not (root / "val").is_dir():
            extract_validation(archive["val"], root / "val", labels, unfinished)
    verify_tree(root, CLASSES, TRAIN, VALIDATION)
    print(f"{root}: complete: {CLASSES} classes, {TRAIN} training and {VALIDATION} validation images")


def read_devkit(devkit: Path) -> tuple[Collection[str], list[str]]:
    """The names of the classes, and the class of each validation image, through torchvision's own reader."""
    with tempfile.TemporaryDirectory() as folder:
        parse_devkit_archive(folder, str(devkit.resolve()))
        return load_meta_file(folder)


def verify_once(archive: Path, md5: str, record: Path) -> None:
    """`verify_md5`, unless `record` says that this file passed, unchanged since: 138 GB take minutes."""
    status = archive.stat()
    line = f"{md5} {status.st_size} {status.st_mtime_ns}\n"
    if not record.exists() or line not in record.read_text():
        verify_md5(archive, md5)
        with record.open("a") as file:
            file.write(line)


def extract_train(archive: Path, train: Path, classes: Collection[str], unfinished: Path) -> None:
    """The inner tars, one a class, straight from the outer one; classes whose folder is there are left."""
    with damage_named(archive), tarfile.open(archive, "r:", tarinfo=Header) as outer:
        missing = []
        for member in files(outer):
            wnid = member.name.removesuffix(".tar")
            if member.name != f"{wnid}.tar" or wnid not in classes:
                raise UserError(f"{archive}: {member.name!r}: not what this archive should hold")
            if not (train / wnid).is_dir():
                missing.append((train / wnid, member))
        if len(outer.getmembers()) != len(classes):
            raise UserError(f"{archive}: {len(outer.getmembers())} classes, {len(classes)} expected")
        size = sum(member.size for _, member in missing)
        require_space(unfinished, size)
        with byte_bar(size, "train") as bar:
            for path, member in missing:
                with damage_named(f"{archive}: {member.name}"), whole_folder(path, unfinished) as folder:
                    extract_class(outer, member, folder)
                bar.update(member.size)


def extract_class(outer: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """The images of the inner tar `member`."""
    with tarfile.open(fileobj=outer.extractfile(member), mode="r:", tarinfo=Header) as inner:
        for image in files(inner):
            if not re.fullmatch(rf"{folder.name}_\d+\.JPEG", image.name):
                raise UserError(f"{outer.name}: {member.name}: {image.name!r}: not what it should hold")
            write(inner, image, folder)


def extract_validation(archive: Path, val: Path, labels: Sequence[str], unfinished: Path) -> None:
    """The images, sorted into their classes: image number n, from 1, is of class `labels[n - 1]`."""
    with damage_named(archive), tarfile.open(archive, "r:", tarinfo=Header) as tar:
        require_space(unfinished, archive.stat().st_size)
        with whole_folder(val, unfinished) as folder:
            for wnid in {*labels}:
                (folder / wnid).mkdir()
            for image in tqdm(files(tar), "val", total=len(labels), disable=None, leave=False):
                named = re.fullmatch(r"ILSVRC2012_val_(\d{8})\.JPEG", image.name)
                if not named or not 1 <= int(named[1]) <= len(labels):
                    raise UserError(f"{archive}: {image.name!r}: not what this archive should hold")
                write(tar, image, folder / labels[int(named[1]) - 1])
            if len(tar.getmembers()) != len(labels):
                raise UserError(f"{archive}: {len(tar.getmembers())} images, {len(labels)} expected")


def files(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members of an uncompressed tar in their order; tarfile.ReadError if it is cut off or damaged.

    tarfile alone takes a tar without its end mark, cut off between two members, for one that ends there, and
    so it takes a damaged header.
    """
    end = 0
    for member in tar:
        if member.issparse():
            raise tarfile.ReadError(f"{member.name} has holes")
        yield member
        end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    assert tar.fileobj is not None, "open"
    tar.fileobj.seek(end)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"cut off or damaged at byte {end}")


def write(tar: tarfile.TarFile, image: tarfile.TarInfo, folder: Path) -> None:
    """A new file under a name that was checked; what the archive says of links and modes is not used."""
    content = tar.extractfile(image) if image.isreg() else None
    if content is None:
        raise tarfile.ReadError(f"{image.name} is no file")
    write_member(content, folder / image.name)


class Header(tarfile.TarInfo):
    """A header whose own extensions, which tarfile reads whole, are no larger than any in use."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "Header":
        header = super().frombuf(buf, encoding, errors)
        if header.type in (b"L", b"K", b"x", b"g", b"X") and header.size > 1 << 20:
            raise tarfile.ReadError(f"an extended header of {header.size} bytes")
        return header


@contextlib.contextmanager
def damage_named(archive: Path | str) -> Iterator[None]:
    """UserError that names the archive for what tarfile raises."""
    try:
        yield
    except tarfile.TarError as error:
        raise UserError(f"{archive}: damaged ({error}): download it again") from error


if __name__ == "__main__":
    main()
