"""Where the real annotated micrographs are, if they are there."""

import os
from pathlib import Path

import pytest

_DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "data"


def real_data(name: str) -> Path:
    """Return the folder of the real data set `name`, or skip the test with the reason."""
    folder = Path(os.environ.get("SPIXGRAPH_DATA", _DEFAULT)) / name
    if not (folder / "manifest.csv").is_file():
        pytest.skip(f"real data set {name} is not at {folder}; set SPIXGRAPH_DATA")
    return folder
