"""Which images a job may name: those below the configured roots, by no trick elsewhere."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from spixgraph.errors import InputError

REMOTE_SCHEMES = ("https", "http", "s3")
_ESCAPES = ("%2e", "%2f", "%5c", "%00")  # of . / \\ and NUL


class ForbiddenError(InputError):
    """The place is none that may be named."""


class MissingError(InputError):
    """There is nothing at the place."""


def resolve_uri(uri: str, roots: Sequence[Path], remote_roots: Sequence[str] = ()) -> Path | str:
    """Turn a URI into the path or the address of an image below a root.

    Parameters
    ----------
    uri : str
        ``file:///folder/image.tif``, whose percent-encoding is undone once, or the address of an
        OME-Zarr image, ``https://host/folder/image.zarr``.
    roots : sequence of Path
        Absolute, without symbolic links.
    remote_roots : sequence of str
        Addresses, such as ``s3://bucket/images``.

    Returns
    -------
    path : Path or str
        A file, or the folder of an OME-Zarr image, with no symbolic link on the way from its root
        nor inside of it; or an address, of which nothing is asked here.

    Raises
    ------
    ForbiddenError
        If the scheme is not allowed, the path leaves the roots, or a symbolic link is on the way.
    MissingError
        If there is no such file or folder.
    """
    if uri.partition("://")[0] in REMOTE_SCHEMES:
        return _address(uri, remote_roots)
    path = _path_of(uri)
    root = next((root for root in roots if path.is_relative_to(root) and path != root), None)
    if root is None:
        raise ForbiddenError(
            "the URI is not below a folder that jobs may read; an operator allows folders by "
            "SPIXGRAPH_ROOTS"
        )
    _require_no_links(root, path)
    return path


def require_remote_root(root: str) -> str:
    """Check an address that an operator allows; return it without a slash at its end.

    Raises
    ------
    InputError
        If it is none, or more than a scheme, a host and a folder.
    """
    parts = _split(root)
    if parts.scheme not in REMOTE_SCHEMES or not parts.netloc or not _is_plain(root):
        raise InputError(
            f"{root!r} is not an address below which jobs may read; write it as in "
            "s3://bucket/images or https://host/images"
        )
    return root.rstrip("/")


def _address(uri: str, roots: Sequence[str]) -> str:
    uri = uri.rstrip("/")
    if not _is_plain(uri) or not any(uri.startswith(f"{root}/") for root in roots):
        raise ForbiddenError(
            "the URI is not below an address that jobs may read; an operator allows addresses by "
            "SPIXGRAPH_REMOTE_ROOTS"
        )
    return uri


def _is_plain(address: str) -> bool:
    """Whether an address means what it says: no user, query, fragment, '..' or hidden slash."""
    parts, low = _split(address), address.lower()
    pieces = parts.path.strip("/").split("/")
    return (
        address.isascii()
        and address.isprintable()
        and not set(address) & set("\\?#@ ")
        and not any(code in low for code in _ESCAPES)
        and (pieces == [""] or all(piece not in ("", ".", "..") for piece in pieces))
    )


def _split(uri: str) -> SplitResult:
    try:
        return urlsplit(uri)
    except ValueError as error:
        raise ForbiddenError(f"{uri!r} is not a URI: {error}") from error


def _path_of(uri: str) -> Path:
    parts = _split(uri)
    if parts.scheme != "file":
        raise ForbiddenError(
            f"URIs of scheme {parts.scheme!r} are not read; allowed: file, "
            f"{', '.join(REMOTE_SCHEMES)}"
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
