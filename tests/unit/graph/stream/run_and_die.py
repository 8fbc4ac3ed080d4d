"""Stream an image to OUT, and die by SIGKILL at the n-th write: ``run_and_die.py OUT N RESUME``."""

import itertools
import os
import signal
import sys
from pathlib import Path

from spixgraph.graph.stream import records, spool, stream_graph, tables
from spixgraph.io.images import ArraySource
from spixgraph.superpixels import store
from tests.unit.graph.stream.images import pixels_of

SHAPE, SIZE, NODES, BLOCK = (36, 70, 60, 1), (1.0, 1.0, 1.0), 5000, (16, 16, 16)


def main(out: Path, last: int, resume: bool) -> None:
    calls = itertools.count(1)

    def counted(function):
        def call(*args, **kwargs):
            if next(calls) == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    for owner, name in (
        (store.LabelWriter, "write"),
        (spool.FileSpool, "append"),
        (records.Journal, "add"),
        (tables.ChunkTable, "append"),
    ):
        setattr(owner, name, counted(getattr(owner, name)))
    source = ArraySource(pixels_of(SHAPE), SIZE)
    stream_graph(source, out, nodes_per_megapixel=NODES, block_zyx=BLOCK, workers=2, resume=resume)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "resume")
