"""Files that others build on: replaced whole or not at all, and read with their shape checked."""

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

LARGEST = 16 << 20  # bytes of a JSON or YAML record; what is larger was not written by this program


class Damaged(UserError):
    """A record that cannot be read, or has another shape than the program gives it."""

    def __init__(self, path: Path, why: str, remedy: str = "restore it") -> None:
        super().__init__(f"{os.path.relpath(path)}: damaged ({why}): {remedy}")


@contextlib.contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` once it is complete and on the disk.

    Where anything fails, `path` is as it was and no part is left; an OSError names `path`. What a killed
    process left of such a part is removed by the next one that writes `path`.
    """
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.part")
    remove_parts(path.parent, path.name)
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


def write_whole(path: Path, content: str | bytes) -> None:
    """Replace a file whole or not at all."""
    with whole(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def remove_parts(folder: Path, name: str | None = None) -> None:
    """Remove the parts whose writers are gone: of files of that name, or all in the folder."""
    for part in folder.glob("*.part" if name is None else f"{glob.escape(name)}.{'[0-9a-f]' * 12}.part"):
        with contextlib.suppress(OSError), open_locked(part, "r+b"):  # an OSError where it is being written
            part.unlink(missing_ok=True)


def open_locked(path: Path, mode: str = "a+") -> IO[Any]:
    """Open a file that this process alone has locked. BlockingIOError where another one has it.

    Somebody may have removed or replaced the file between the opening and the locking: then once more.
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
    """A new file, locked as long as it is open: so `remove_parts` knows it from one that was left behind."""
    while True:
        file = part.open("wb")
        with contextlib.suppress(OSError):  # a file system without locks: there parts are never removed
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
    """The folders on the way to `path`, and it, that the block makes and leaves empty are removed again."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # the first that is not empty
            for folder in missing:
                if folder.exists():
                    folder.rmdir()


def open_regular(path: Path) -> BinaryIO:
    """Open a file to read. OSError for a pipe, whose reader would wait for ever, a device or a folder."""
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - it is returned
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def read_regular(path: Path) -> bytes:
    with open_regular(path) as file:
        return file.read()


# What a value of a record must be: one of some types or strings, a mapping with these keys, or a list of such
# values. A key that ends in "?" may be missing.
Shape = type | tuple[type, ...] | frozenset[str] | Mapping[str, Any] | list[Any]

NUMBER = (int, float)
MOST = 1e300
TEXT_OR_NONE = (str, type(None))


def read_record(
    path: Path,
    shape: Shape,
    remedy: str = "restore it",
    parse: Callable[[str], Any] = json.loads,
) -> Any:
    """The value of a JSON file (or what `parse` makes of its text), or None where there is no file.

    Damaged if it cannot be read, cannot be parsed, or has not this shape.
    """
    try:
        with open_regular(path) as file:
            content = file.read(LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Damaged(path, f"cannot be read: {error.strerror}", remedy) from error
    if len(content) > LARGEST:
        raise Damaged(path, f"more than {LARGEST >> 20} MiB", remedy)
    try:
        return parse_record(content, shape, parse)
    except ValueError as error:
        raise Damaged(path, str(error), remedy) from error


def parse_record(content: bytes, shape: Shape, parse: Callable[[str], Any] = json.loads) -> Any:
    """The value in `content`. ValueError, which says in a few words why, where there is none of `shape`."""
    try:
        value = parse(content.decode())
        json.dumps(value, ensure_ascii=False, default=str).encode()  # what could not be printed either
    except Exception as error:  # a parser may stumble over anything: depth, numbers, dates
        raise ValueError(f"not {'YAML' if parse is parse_yaml else 'JSON'}") from error
    if wrong := misfit(value, shape):
        raise ValueError(wrong)
    return value


def parse_yaml(text: str) -> Any:
    """The value of a YAML document without aliases, with which a few lines could grow without end."""
    return yaml.load(text, _NoAliases)


class _NoAliases(yaml.SafeLoader):
    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)


def misfit(value: Any, shape: Shape, where: str = "it") -> str | None:
    """Where `value` has not this shape, in a few words; None where it has."""
    if isinstance(shape, Mapping):
        if not isinstance(value, dict):
            return f"{where} is not a group of keys"
        for key, part in shape.items():
            name = key.removesuffix("?")
            if name in value:
                if wrong := misfit(value[name], part, name if where == "it" else f"{where}.{name}"):
                    return wrong
            elif name == key:
                return f"{name if where == 'it' else f'{where}.{name}'} is missing"
        return None
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{where} is not a list"
        parts = (misfit(part, shape[0], f"{where}[{i}]") for i, part in enumerate(value))
        return next(filter(None, parts), None)
    if isinstance(shape, frozenset):
        return None if isinstance(value, str) and value in shape else f"{where} is none of {sorted(shape)}"
    types = shape if isinstance(shape, tuple) else (shape,)
    if type(value) not in types and not (dict in types and isinstance(value, dict)):
        names = " or ".join("null" if one is type(None) else one.__name__ for one in types)
        return f"{where} is not {names}"
    if isinstance(value, (int, float)) and not abs(value) < MOST:
        return f"{where} is not finite, or too large"
    return f"{where} is below 0" if shape is int and isinstance(value, int) and value < 0 else None
