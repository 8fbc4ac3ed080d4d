"""Stage `superpixels`: label images of one recipe (rag or paper)."""

import sys

from pipelines._stage import stage
from spixgraph.stages.graphs import make_superpixels

if __name__ == "__main__":
    stage(make_superpixels, *sys.argv[1:])
