"""Keep what earlier runs made, image by image, while nothing it was made from has changed.

DVC decides about whole stages; a new image in a large data set should cost one graph, not all.
"""

import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from spixgraph.files import read_json, sha256_json, write_json

log = logging.getLogger(__name__)


def keep_or_make(
    folder: Path, wanted: Mapping[str, Any], make: Callable[[str, Path], None], *, suffix: str
) -> None:
    """Fill `folder` with one output per key of `wanted`.

    Parameters
    ----------
    folder : Path
        Gets `<id><suffix>` for each id, and `index.json` with the hash of what each was made from.
    wanted : mapping of id to JSON value
        What the output depends on; equal values mean that an existing output is kept.
    make : callable
        ``make(id, path)`` writes one output, atomically.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index_path = folder / "index.json"
    index: dict[str, str] = read_json(index_path) if index_path.is_file() else {}
    keys = {name: sha256_json(value) for name, value in wanted.items()}
    _remove_others(folder, {f"{name}{suffix}" for name in keys} | {"index.json"})
    index = {name: key for name, key in index.items() if name in keys}
    for number, (name, key) in enumerate(keys.items(), start=1):
        path = folder / f"{name}{suffix}"
        if index.get(name) == key and path.exists():
            log.info("%d/%d %s is kept", number, len(keys), name)
            continue
        make(name, path)
        index[name] = key
        write_json(index_path, index)
        log.info("%d/%d %s", number, len(keys), name)
    write_json(index_path, index)


def _remove_others(folder: Path, keep: set[str]) -> None:
    for path in folder.iterdir():
        if path.name in keep:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
