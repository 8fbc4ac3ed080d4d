"""Stage `train`: one model (gnn, cnn, paper, mlp, forest or boosting), all seeds."""

import sys

from pipelines._stage import stage
from spixgraph.stages.trainings import train

if __name__ == "__main__":
    stage(train, *sys.argv[1:])
