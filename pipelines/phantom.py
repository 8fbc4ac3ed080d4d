"""Stage `phantom`: write the embedded synthetic data set."""

import sys
from pathlib import Path

from pipelines._stage import stage
from spixgraph.io.phantoms import write_phantom_dataset
from spixgraph.stages.run import Run


def phantom(run: Run, out: str) -> None:
    """Write the data set that the `phantom` section describes to the folder `out`."""
    settings = run.params.phantom
    write_phantom_dataset(
        Path(out),
        kind=settings.kind,
        n_images=settings.n_images,
        shape_zyx=settings.shape_zyx,
        seed=settings.seed,
    )


if __name__ == "__main__":
    stage(phantom, *sys.argv[1:])
