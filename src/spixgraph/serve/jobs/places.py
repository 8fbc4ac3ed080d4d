"""Which images a job may name: files below the configured roots, by no trick elsewhere."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from spixgraph.errors import InputError

SCHEMES = ("file",)


class ForbiddenError(InputError):
    """The place is none that may be named."""


class MissingError(InputError):
    """There is nothing at the place."""


def resolve_uri(uri: str, roots: Sequence[Path]) -> Path:
    """Turn a URI into the path of an image below a root.

    Parameters
    ----------
    uri : str
        ``file:///folder/image.tif``; percent-encoding is undone once.
    roots : sequence of Path
        Absolute, without symbolic links.

    Returns
    -------
    path : Path
        A file, or the folder of an OME-Zarr image, with no symbolic link on the way from its root
        nor inside of it.

    Raises
    ------
    ForbiddenError
        If the scheme is not allowed, the path leaves the roots, or a symbolic link is on the way.
    MissingError
        If there is no such file or folder.
    """
    path = _path_of(uri)
    root = next((root for root in roots if path.is_relative_to(root) and path != root), None)
    if root is None:
        raise ForbiddenError(
            "the URI is not below a folder that jobs may read; an operator allows folders by "
            "SPIXGRAPH_ROOTS"
        )
    _require_no_links(root, path)
    return path


def _path_of(uri: str) -> Path:
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise ForbiddenError(f"{uri!r} is not a URI: {error}") from error
    if parts.scheme not in SCHEMES:
        raise ForbiddenError(
            f"URIs of scheme {parts.scheme!r} are not read; allowed: {', '.join(SCHEMES)}"
        )
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        raise ForbiddenError("a file URI has no host, query or fragment: file:///folder/image.tif")
    raw = unquote_to_bytes(parts.path)
    if b"\0" in raw or not raw.startswith(b"/"):
        raise ForbiddenError("a file URI has an absolute path without NUL")
    pieces = [piece for piece in os.fsdecode(raw).split("/") if piece]
    if any(piece in (".", "..") for piece in pieces):
        raise ForbiddenError("a file URI must not hold '.' or '..'")
    return Path("/", *pieces)


def _require_no_links(root: Path, path: Path) -> None:
    """Look at every step from the root to the image, and at what a folder holds."""
    step = root
    for piece in path.relative_to(root).parts:
        step = step / piece
        _require_real(step)
    if not path.is_dir():
        return
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            _require_real(Path(folder) / name)


def _require_real(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except (OSError, ValueError) as error:
        raise MissingError("there is no image at this URI; check the path") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ForbiddenError("symbolic links, devices and sockets are not read; name a plain file")
