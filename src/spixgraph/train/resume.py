"""The state of an unfinished training, so that a killed run goes on where it was."""

import logging
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from spixgraph.errors import StoredDataError
from spixgraph.files import atomic_path

log = logging.getLogger(__name__)


def save_state(path: Path, state: dict[str, Any], *, fingerprint: str) -> None:
    """Write `state`, whole or not at all; tensors and plain values only."""
    with atomic_path(path) as part:
        torch.save({"fingerprint": fingerprint, "state": state}, part)


def load_state(path: Path, *, fingerprint: str) -> dict[str, Any] | None:
    """Read what `save_state` wrote for the same training, or None where there is none.

    Raises
    ------
    StoredDataError
        If the file cannot be read.
    """
    if not path.is_file():
        return None
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        if saved["fingerprint"] == fingerprint:
            return saved["state"]
    except (RuntimeError, UnpicklingError, EOFError, KeyError, TypeError) as error:
        raise StoredDataError(
            f"{path} is no state of a training; delete it to start anew"
        ) from error
    log.warning("%s is of other data, settings or versions; training starts anew", path)
    return None
