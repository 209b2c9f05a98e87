"""Files that others build on: replaced whole or not at all, and read with their shape checked."""

import contextlib
import errno
import fcntl
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from bn.errors import UserError


class Damaged(UserError):
    """A record that cannot be read, or has another shape than the program gives it."""

    def __init__(self, path: Path, why: str, remedy: str = "restore it") -> None:
        super().__init__(f"{os.path.relpath(path)}: damaged ({why}): {remedy}")


@contextlib.contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` once it is complete and on the disk.

    Where anything fails, `path` is as it was and no part is left; an OSError names `path`. The part that a
    killed process left is overwritten by the next one that writes `path`; two that write it take turns.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with open_locked(part, wait=True) as file:
            try:
                file.truncate(0)
                yield file
                file.flush()
                os.fsync(file.fileno())
                part.replace(path)
            except BaseException:
                with contextlib.suppress(OSError):  # a read-only file system refuses this too
                    part.unlink()
                raise
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(part)):
            error.filename, error.filename2 = str(path), None
        raise


def write_whole(path: Path, content: str | bytes) -> None:
    """Replace a file whole or not at all."""
    with whole(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def open_locked(path: Path, wait: bool = False) -> BinaryIO:
    """Open a file, made if it is missing, that this process alone has locked.

    Where another process has it, BlockingIOError; with `wait` this one waits, and does without a lock on a
    file system that has none.
    """
    while True:
        file = os.fdopen(os.open(str(path), os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            if not wait:
                file.close()
                raise
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()  # somebody removed or replaced it between the opening and the locking: once more


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
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return file


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
        content = read_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Damaged(path, f"cannot be read: {error.strerror}", remedy) from error
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
