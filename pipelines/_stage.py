"""What all stage scripts share: read the settings, say what is done, end with one line on error."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spixgraph.config.params import load_params
from spixgraph.errors import SpixError
from spixgraph.stages.layout import Layout
from spixgraph.stages.run import Run


def stage(function: Callable[..., Any], *args: str, root: Path | None = None) -> None:
    """Run one stage in the workspace `root` (default: the working folder)."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("spixgraph").setLevel(logging.INFO)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    root = root or Path.cwd()
    try:
        params = load_params(root / "params.yaml")
        function(Run(Layout(root), root / params.prepare.source, params), *args)
    except SpixError as error:
        sys.exit(f"error: {error}")
