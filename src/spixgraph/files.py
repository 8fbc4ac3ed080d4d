"""Files that appear whole or not at all, and hashes of what is in them."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import spixgraph
from spixgraph.errors import InputError, StoredDataError

_SYNC_THREADS = 16


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path`; on success it takes the final name, else it is removed.

    Works for a file and for a folder. An existing `path` is replaced only at the end. What has the
    final name is on the disk itself, so that a power cut does not leave it empty.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part{path.suffix}")
    _remove(part)
    try:
        yield part
        if not part.exists():
            raise StoredDataError(f"nothing was written to {part}, meant for {path}")
        sync_tree(part)
        if path.is_dir():
            old = path.with_name(f".{path.name}.{os.getpid()}.old")
            path.rename(old)
            part.rename(path)
            _remove(old)
        else:
            part.replace(path)
        sync_name(path)
    finally:
        _remove(part)


def sync_tree(path: Path) -> None:
    """Have a file, or a folder with all that is below it, written to the disk itself.

    By threads: a disk takes many files at once; one after the other, each would wait for it.
    """
    entries = [path]
    if path.is_dir():
        entries += [p for p in path.rglob("*") if not p.is_symlink()]
    if len(entries) == 1:
        _sync(path)
        return
    with ThreadPoolExecutor(_SYNC_THREADS, "sync") as pool:
        for _ in pool.map(_sync, entries):
            pass


def sync_name(path: Path) -> None:
    """Have the name that a file or folder was given written to the disk itself."""
    _sync(path.parent)


def _sync(path: Path) -> None:
    if os.name == "nt":  # which opens no folders, and syncs no file that is open for reading
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system without such a thing
            raise
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sha256_file(path: Path) -> str:
    """Hash the bytes of one file; hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_tree(folder: Path) -> str:
    """Hash the names and bytes of all files below `folder`, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(sha256_file(path).encode() + b"\0")
    return digest.hexdigest()


def code_sha256(*rooms: str) -> str:
    """Hash the source of these rooms or files of the package; of the whole package without any."""
    package = Path(spixgraph.__file__).parent
    digest = hashlib.sha256()
    for room in rooms or (".",):
        found = [package / room] if room.endswith(".py") else sorted((package / room).rglob("*.py"))
        for path in found:
            digest.update(path.relative_to(package).as_posix().encode() + b"\0")
            digest.update(sha256_file(path).encode())
    return digest.hexdigest()


def sha256_json(value: Any) -> str:
    """Hash a JSON value by its canonical text."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def canonical_json(value: Any) -> str:
    """Write a JSON value so that equal values give equal text; NaN becomes null."""
    return json.dumps(_without_nan(value), sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def _without_nan(value: Any) -> Any:
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, dict):
        return {str(k): _without_nan(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(v) for v in value]
    return value


def write_json(path: Path, value: Any) -> None:
    """Write canonical JSON, atomically."""
    with atomic_path(path) as part:
        part.write_text(canonical_json(value), encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read JSON; a missing or broken file is a `SpixError` that names it."""
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoredDataError(f"{path} is not JSON: {error}; make it again") from error
