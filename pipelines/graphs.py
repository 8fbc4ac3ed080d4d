"""Stage `graphs`: region graphs of one recipe (rag or paper)."""

import sys

from pipelines._stage import stage
from spixgraph.stages.graphs import make_graphs

if __name__ == "__main__":
    stage(make_graphs, *sys.argv[1:])
