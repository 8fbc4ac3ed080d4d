"""Processes that run the same code as this one.

A Bento has its source on the path of its own process only; another version may be installed, or
none, so a child is told where this one's code lies.
"""

import os
import sys
from pathlib import Path

import spixgraph


def child_command(module: str) -> list[str]:
    """Return the command that runs a module of this package."""
    return [sys.executable, "-m", module]


def child_environment() -> dict[str, str]:
    """Return the environment in which a child imports the code that runs here."""
    here = str(Path(spixgraph.__file__).parents[1])
    path = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": here if not path else os.pathsep.join([here, path])}
