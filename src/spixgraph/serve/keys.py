"""API keys: random, shown once, kept as hashes.

A key has 256 random bits, so a plain SHA-256 of it cannot be guessed back; slow hashes are for
passwords that people choose.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from spixgraph.errors import InputError, StoredDataError
from spixgraph.files import atomic_path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LINE = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,63}):(?P<sha256>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """Hashes of the keys that are let in.

    Attributes
    ----------
    sha256_of_name : tuple of (name, hexadecimal sha256)
    """

    sha256_of_name: tuple[tuple[str, str], ...]

    def name_of(self, key: str) -> str | None:
        """Name the owner of a key; None if it is not let in.

        Every hash is compared, each in constant time, so that the time says nothing.
        """
        found = None
        given = _hash(key)
        for name, stored in self.sha256_of_name:
            if hmac.compare_digest(given, stored):
                found = name
        return found


def load_keys(path: Path) -> ApiKeys:
    """Read lines of ``name:sha256``; empty lines and lines with # are skipped.

    Raises
    ------
    StoredDataError
        If a line has another form, a name comes twice, or there is no key at all.
    """
    text = path.read_text(encoding="utf-8")
    lines = [s for s in map(str.strip, text.splitlines()) if s and not s.startswith("#")]
    found = [_LINE.fullmatch(line) for line in lines]
    pairs = [(match["name"], match["sha256"]) for match in found if match is not None]
    if len(pairs) < len(lines) or not pairs or len(dict(pairs)) < len(pairs):
        raise StoredDataError(
            f"{path} must hold lines name:sha256, each name once, at least one; "
            "add keys by `spixgraph serve key NAME --file FILE`"
        )
    return ApiKeys(tuple(pairs))


def add_key(path: Path, name: str) -> str:
    """Make a key, add its hash to the file (made if it does not exist), return the key.

    Raises
    ------
    InputError
        If the name is not usable or taken.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"key name {name!r} must be letters, digits, dots, dashes, underscores")
    known = load_keys(path).sha256_of_name if path.is_file() else ()
    if name in dict(known):
        raise InputError(f"{path} has a key {name} already; take its line out first")
    key = secrets.token_urlsafe(32)
    lines = [f"{n}:{h}\n" for n, h in (*known, (name, _hash(key)))]
    with atomic_path(path) as part:
        part.touch(mode=0o600)
        part.write_text("".join(lines), encoding="utf-8")
    return key


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
