"""Atomic file replacement, and reading of records with their structure checked."""

import contextlib
import errno
import fcntl
import glob
import json
import os
import stat
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO

import yaml

from bn.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[1]
MAX_BYTES = 16 << 20  # of a JSON or YAML record; this program writes none that is larger


class Damaged(UserError):
    """A record that cannot be read, or whose structure is not the one that the program writes."""

    def __init__(self, path: Path, why: str, remedy: str = "restore it") -> None:
        super().__init__(f"{os.path.relpath(path)}: damaged ({why}): {remedy}")


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces `path` once it is complete and synced to disk.

    On failure `path` is unchanged, the partial file is removed, and an OSError names `path`. A partial file
    that a killed process left behind is removed by the next process that writes `path`.
    """
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.part")
    remove_partial_files(path.parent, path.name)
    try:
        with _open_part(part) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            part.replace(path)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(part)):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        with contextlib.suppress(OSError):  # a read-only file system refuses this too
            part.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace the content of a file atomically."""
    with atomic_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def remove_partial_files(folder: Path, name: str | None = None) -> None:
    """Remove partial files whose writers have ended: all in the folder, or those of the file `name`."""
    for part in folder.glob("*.part" if name is None else f"{glob.escape(name)}.{'[0-9a-f]' * 12}.part"):
        with contextlib.suppress(OSError), open_locked(part, "r+b"):  # OSError if it is being written
            part.unlink(missing_ok=True)


def open_locked(path: Path, mode: str = "a+") -> IO[Any]:
    """Open a file and lock it exclusively. BlockingIOError if another process holds the lock.

    Opening is repeated if the file was removed or replaced before it was locked.
    """
    while True:
        file = path.open(mode, errors=None if "b" in mode else "replace")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(file, path):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _open_part(part: Path) -> BinaryIO:
    """Create a file that is locked while open, so that `remove_partial_files` spares it."""
    while True:
        file = part.open("wb")
        with contextlib.suppress(OSError):  # without file locks, no partial file is ever removed
            fcntl.flock(file, fcntl.LOCK_EX)
        if _is_at(file, part):
            return file
        file.close()


def _is_at(file: IO[Any], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def no_empty_folders(path: Path) -> Iterator[None]:
    """Remove `path` and those of its parents that the block created and left empty."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # stops at the first folder that is not empty
            for folder in missing:
                if folder.exists():
                    folder.rmdir()


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading. OSError for a pipe, which could block forever, a device or a folder."""
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return file


def read_regular(path: Path) -> bytes:
    with open_regular(path) as file:
        return file.read()


# The structure of a value: one of several types or strings, a mapping with given keys, or a list whose
# elements have a given structure. A key that ends in "?" is optional.
Shape = type | tuple[type, ...] | frozenset[str] | Mapping[str, Any] | list[Any]

NUMBER = (int, float)
MAX_NUMBER = 1e300
TEXT_OR_NONE = (str, type(None))


def read_record(
    path: Path, shape: Shape, remedy: str = "restore it", parse: Callable[[str], Any] = json.loads
) -> Any:
    """Read a JSON file, or another format with its `parse`. None if the file does not exist.

    Raises Damaged if it cannot be read or parsed, or does not have this shape.
    """
    try:
        with open_regular(path) as file:
            content = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Damaged(path, f"cannot be read: {error.strerror}", remedy) from error
    if len(content) > MAX_BYTES:
        raise Damaged(path, f"more than {MAX_BYTES >> 20} MiB", remedy)
    try:
        return parse_record(content, shape, parse)
    except ValueError as error:
        raise Damaged(path, str(error), remedy) from error


def parse_record(content: bytes, shape: Shape, parse: Callable[[str], Any] = json.loads) -> Any:
    """Parse a record. ValueError with a short reason if it cannot be parsed or does not have this shape."""
    try:
        value = parse(content.decode())
        json.dumps(value, ensure_ascii=False, default=str).encode()  # raises if it cannot be printed
    except Exception as error:  # parsers fail in many ways: nesting depth, numbers, dates
        raise ValueError(f"not {'YAML' if parse is parse_yaml else 'JSON'}") from error
    if wrong := mismatch(value, shape):
        raise ValueError(wrong)
    return value


def parse_yaml(text: str) -> Any:
    """Parse YAML without aliases, with which a few lines could expand without bound."""
    return yaml.load(text, _NoAliases)


class _NoAliases(yaml.SafeLoader):
    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)


def mismatch(value: Any, shape: Shape, where: str = "it") -> str | None:
    """Describe where `value` does not have this shape; None if it does."""
    if isinstance(shape, Mapping):
        if not isinstance(value, dict):
            return f"{where} is not a group of keys"
        for key, part in shape.items():
            name = key.removesuffix("?")
            inner = name if where == "it" else f"{where}.{name}"
            if name in value:
                if wrong := mismatch(value[name], part, inner):
                    return wrong
            elif name == key:
                return f"{inner} is missing"
        return None
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{where} is not a list"
        parts = (mismatch(part, shape[0], f"{where}[{i}]") for i, part in enumerate(value))
        return next(filter(None, parts), None)
    if isinstance(shape, frozenset):
        return None if isinstance(value, str) and value in shape else f"{where} is not one of {sorted(shape)}"
    types = shape if isinstance(shape, tuple) else (shape,)
    if type(value) not in types and not (dict in types and isinstance(value, dict)):
        names = " or ".join("null" if one is type(None) else one.__name__ for one in types)
        return f"{where} is not {names}"
    if isinstance(value, (int, float)) and not abs(value) < MAX_NUMBER:
        return f"{where} is not finite, or too large"
    return f"{where} is below 0" if shape is int and isinstance(value, int) and value < 0 else None
