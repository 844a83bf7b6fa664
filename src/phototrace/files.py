"""Files are written whole or not at all, and a folder is complete only with its contents list.

A file is written under a temporary name beside its place, flushed to disk, then renamed. A folder
is finished by `write_contents`, which lists every file with its size and SHA-256.

What differs between Linux, macOS and Windows stands here, by what the system can do rather than by
its name.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from phototrace.errors import DamagedError, UsageError

CONTENTS = "contents.json"


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes its place, on failure it is gone.

    The parent folder is created. Also a kill or a full disk leaves the old file, or none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("r+b") as file:  # Windows flushes only what it may write
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk does not say which by itself
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON (no NaN: what is not a number must be None)."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits; reads in constant memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_of(value: object) -> str:
    """SHA-256 of a JSON-serialisable value in canonical form, as 64 hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def write_contents(folder: Path, names: list[str], known: Mapping[str, str] | None = None) -> None:
    """Declare `folder` complete: list the named files with their sizes and SHA-256.

    `known` holds SHA-256 that the writers of large files have worked out already.
    """
    known = known or {}
    files = {
        name: {
            "bytes": (folder / name).stat().st_size,
            "sha256": known.get(name) or sha256_of(folder / name),
        }
        for name in sorted(names)
    }
    write_json(folder / CONTENTS, {"version": 1, "files": files})


def is_complete(folder: Path) -> bool:
    """Whether `folder` was finished by `write_contents`."""
    return (folder / CONTENTS).is_file()


def check_contents(folder: Path, *, sizes_only: bool = False) -> None:
    """Raise `DamagedError` unless every listed file is there, unchanged.

    `sizes_only` leaves the hashes out, for folders of many gigabytes that are verified apart.
    """
    for name, listed in _listed_files(folder).items():
        path = folder / name
        if not path.is_file():
            raise DamagedError(f"{path} is missing. Restore the folder, or make it again.")
        if path.stat().st_size != listed["bytes"]:
            raise DamagedError(f"{path} has changed its size since it was written. Make it again.")
        if not sizes_only and sha256_of(path) != listed["sha256"]:
            raise DamagedError(f"{path} has changed since it was written. Make it again.")


def _listed_files(folder: Path) -> dict[str, dict[str, object]]:
    try:
        contents = json.loads((folder / CONTENTS).read_text(encoding="utf-8"))
        files = contents["files"]
        plain = all(
            isinstance(entry, dict)
            and {"bytes", "sha256"} <= entry.keys()
            and not Path(name).anchor  # on Windows "/etc" has a root, and is not absolute
            and ".." not in Path(name).parts
            for name, entry in files.items()
        )
    except FileNotFoundError:
        raise DamagedError(
            f"{folder} has no {CONTENTS}: it was never finished. Resume or repeat what makes it."
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError):
        plain = False
    if not plain:
        raise DamagedError(f"{folder / CONTENTS} cannot be read. Make the folder again.")
    return dict(files)


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current


def _sync_folder(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no folders, and needs no flush of them
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_data(handle: int) -> None:
    """Flush an open file's bytes to disk; its times may follow later, where the system can wait."""
    getattr(os, "fdatasync", os.fsync)(handle)


def relative_path(path: str, folder: str) -> str:
    """`path` as seen from `folder`, with forward slashes, so that every system reads it.

    On Windows, what lies on another drive cannot be seen from there and stays absolute.
    """
    try:
        seen = os.path.relpath(path, folder)
    except ValueError:
        seen = os.path.abspath(path)
    return seen.replace(os.sep, "/")


def free_bytes(folder: Path) -> int:
    """Free bytes of the disk that `folder` is, or would be, on."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for one process; raise `UsageError` where another is at work in it.

    The lock goes with the process, also when it is killed. The folder is created.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / ".lock").acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"Another phototrace is at work in {folder}. Wait for it, or choose another folder."
        ) from None
    with lock:
        yield
