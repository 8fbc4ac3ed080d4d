"""Stage `evaluate`: masks, scores and costs of all trained networks; the report beside them."""

from pipelines._stage import stage
from spixgraph.stages.evaluation import evaluate

if __name__ == "__main__":
    stage(evaluate)
