"""What is known of a finished strip; enough to go on after it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spixgraph.errors import InputError
from spixgraph.files import atomic_path


@dataclass(frozen=True, slots=True)
class StripRecord:
    """A finished strip.

    Attributes
    ----------
    first : tuple of int
        Id of the first superpixel of each block, and of the strip after it.
    contacts : (start, y, inner, stop)
        Rows of the table of contacts: with the strip behind from `start`, with the strip above
        from `y`, within the strip from `inner` to `stop`.
    """

    first: tuple[int, ...]
    contacts: tuple[int, int, int, int]


class Journal:
    """One line of JSON per finished strip, below a first line that says what is being made.

    Parameters
    ----------
    path : Path
    header : dict
        JSON values; a journal with another header belongs to another run.
    """

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self._path = path
        self.records: list[StripRecord] = []
        if not path.exists():
            path.write_text(json.dumps(header) + "\n", encoding="utf-8")
            return
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        _require_same(path, json.loads(lines[0]), json.loads(json.dumps(header)))
        whole = [line for line in lines[1:] if line.endswith("\n")]
        self.records = [_record(line) for line in whole]
        if len(whole) < len(lines) - 1:  # stopped while it wrote the last one
            with atomic_path(path) as part:
                part.write_text("".join([lines[0], *whole]), encoding="utf-8")

    def add(self, record: StripRecord) -> None:
        """Write a line; what it stands for is on disk already."""
        with self._path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(asdict(record)) + "\n")
        self.records.append(record)


def n_finished(path: Path) -> int:
    """Count the strips that a journal holds; 0 where there is none."""
    return max(0, path.read_text(encoding="utf-8").count("\n") - 1) if path.exists() else 0


def _record(line: str) -> StripRecord:
    stored = json.loads(line)
    a, b, c, d = stored["contacts"]
    return StripRecord(tuple(stored["first"]), (a, b, c, d))


def _require_same(path: Path, stored: dict[str, Any], wanted: dict[str, Any]) -> None:
    other = sorted(k for k in stored.keys() | wanted.keys() if stored.get(k) != wanted.get(k))
    if other:
        raise InputError(
            f"{path.parent.parent} was begun with another {', '.join(other)}: {other[0]} "
            f"{stored.get(other[0])}, now {wanted.get(other[0])}; take the same image and options, "
            "or delete it and start anew without --resume"
        )
