"""Stage `prepare`: check images and masks, settle classes and splits."""

from pipelines._stage import stage
from spixgraph.stages.prepare import prepare

if __name__ == "__main__":
    stage(prepare)
