"""Stage `export`: the selected model as a bundle that needs no torch."""

from pipelines._stage import stage
from spixgraph.stages.bundles import export_selected

if __name__ == "__main__":
    stage(export_selected)
