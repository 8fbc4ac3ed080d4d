"""What makes two trainings the same."""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from spixgraph.arrays import Array
from spixgraph.files import canonical_json

_STATE_FORM = 2
"""Of what `spixgraph.train.loop` keeps of a training: an optimiser per learner."""


def fingerprint(settings: dict[str, Any], data: Iterable[Array]) -> str:
    """Hash settings, training data, the version of torch and the form of the state; hexadecimal."""
    versions = {"torch": torch.__version__, "state": _STATE_FORM}
    digest = hashlib.sha256(canonical_json({**versions, **settings}).encode())
    for array in data:
        digest.update(f"{array.shape}{array.dtype.str}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
