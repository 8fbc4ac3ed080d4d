"""Stage `select`: the best graph model within the stated limits."""

from pipelines._stage import stage
from spixgraph.stages.selection import select

if __name__ == "__main__":
    stage(select)
