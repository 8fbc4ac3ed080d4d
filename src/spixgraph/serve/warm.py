"""``python -m spixgraph.serve.warm BUNDLE``: compile what serving a bundle needs.

The machine code is kept where this package lies, so that the first start of a service and its
first answers need not wait for it.
"""

import sys
from pathlib import Path

import numpy as np

from spixgraph.errors import SpixError
from spixgraph.serve.segmenter import open_segmenter


def main() -> None:
    """Segment small images of all pixel types that are served, or end with the reason."""
    try:
        segmenter = open_segmenter(Path(sys.argv[1]), version="none", device="cpu")
        for dtype in (np.uint8, np.uint16):
            segmenter.try_out(dtype, shares=True)
    except SpixError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
