"""From archives to an ImageFolder tree: verified, locked, and with each class folder complete or absent.

The two preparation scripts (scripts/prepare_imagenet.py, scripts/prepare_tiny_imagenet.py) share this. A
class folder is filled under `<root>/.unfinished` and renamed when it is complete. So a folder with the name
of a class is finished, and a command that was killed continues with the others.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tqdm import tqdm

from bn.data.tree import no_empty_folders, read_tree
from bn.errors import UserError


def verify_md5(archive: Path, expected: str) -> None:
    """UserError with one line if `archive` is not the published file."""
    digest = hashlib.md5(usedforsecurity=False)
    with archive.open("rb") as file, byte_bar(archive.stat().st_size, f"MD5 of {archive.name}") as bar:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            bar.update(len(chunk))
    if digest.hexdigest() != expected:
        raise UserError(
            f"{archive}: its MD5 is {digest.hexdigest()}, the published one {expected}: "
            "damaged, or not the official file: remove it and download it again"
        )


def byte_bar(total: int | None, what: str) -> tqdm:
    """A progress bar in bytes; nothing where standard error is no terminal."""
    return tqdm(total=total, desc=what, unit="B", unit_scale=True, disable=None, leave=False)


@contextlib.contextmanager
def sole_writer(root: Path) -> Iterator[Path]:
    """The folder for what is unfinished of the tree `root`, empty and gone afterwards.

    UserError with one line if another process is at work on the tree, and for each OSError in the block, such
    as a full disk.
    """
    unfinished, lock_file = root / ".unfinished", root / ".lock"
    try:
        with no_empty_folders(root):
            root.mkdir(parents=True, exist_ok=True)
            with lock_file.open("a") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if not os.path.samestat(os.fstat(lock.fileno()), os.stat(lock_file)):
                        raise BlockingIOError  # its last holder removed it, and another has a new one
                except (BlockingIOError, FileNotFoundError):
                    raise UserError(f"{root}: in use by another process: wait for it, or stop it") from None
                shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed
                try:
                    unfinished.mkdir()
                    yield unfinished
                finally:
                    shutil.rmtree(unfinished, ignore_errors=True)
                    lock_file.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{error.filename or root}: {error.strerror or error}: fix this, then run the same command again"
        ) from error


@contextlib.contextmanager
def whole_folder(path: Path, unfinished: Path) -> Iterator[Path]:
    """A new folder to fill; as the block ends it gets the name `path`. If the block raises, it never does."""
    part = unfinished / path.name
    part.mkdir()
    yield part
    os.sync()  # or a power failure could leave the name with empty files
    path.parent.mkdir(exist_ok=True)
    part.rename(path)


def write_member(source: IO[bytes], path: Path) -> None:
    """A new file with what an archive's member holds, of which little is in memory at a time."""
    with path.open("xb") as file:
        shutil.copyfileobj(source, file, 1 << 20)


def require_space(root: Path, size: int) -> None:
    """UserError with one line if fewer than `size` bytes are free, before hours are spent on it."""
    free = shutil.disk_usage(root).free
    if free < size:
        raise UserError(f"{root}: {free / 1e9:.1f} GB free, {size / 1e9:.1f} GB needed: make room")


def verify_tree(root: Path, classes: int, train: int, validation: int) -> None:
    """UserError with one line if `root` is not a tree of so many classes and images."""
    tree = read_tree(root, classes, "prepare it")
    expected = {"train": train, "val": validation}
    for split, listing in tree.items():
        if len(listing) != expected[split]:
            raise UserError(
                f"{root / split}: {len(listing)} images, {expected[split]} expected: "
                "remove this folder and run again, without --no-verify"
            )
