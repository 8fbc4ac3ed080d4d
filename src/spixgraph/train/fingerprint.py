"""What makes two trainings the same."""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from spixgraph.arrays import Array
from spixgraph.files import canonical_json


def fingerprint(settings: dict[str, Any], data: Iterable[Array]) -> str:
    """Hash settings, training data and the version of torch; hexadecimal."""
    digest = hashlib.sha256(canonical_json({"torch": torch.__version__, **settings}).encode())
    for array in data:
        digest.update(f"{array.shape}{array.dtype.str}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
