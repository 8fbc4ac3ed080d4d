"""Write reports/ again from the stored evaluation, without running any stage."""

from pipelines._stage import stage
from spixgraph.stages.reporting import write_report

if __name__ == "__main__":
    stage(write_report)
