"""``python -m spixgraph.serve.device MODEL.onnx DEVICE``: whether a model opens on a device."""

import sys
from pathlib import Path
from typing import cast

from spixgraph.errors import SpixError
from spixgraph.predict.onnx_predictor import Device, OnnxPredictor


def main() -> None:
    """Open the model, or end with the reason."""
    path, device = sys.argv[1:]
    try:
        OnnxPredictor(Path(path), device=cast("Device", device))
    except SpixError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
