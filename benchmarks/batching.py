"""Whether several small graphs as one disjoint graph are quicker than one after the other.

``python -m benchmarks.batching BUNDLE`` runs the network of a bundle on graphs of phantoms, in one
call and in as many calls as there are graphs, in turn, and compares with whole segmentations.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import numpy as np

from spixgraph.arrays import Float32, Int64
from spixgraph.io.phantoms import make_phantom
from spixgraph.predict.bundle import load_bundle
from spixgraph.predict.driver import open_model, segment_source
from spixgraph.predict.onnx_predictor import OnnxPredictor

_REPEATS = 5


class Recorder(OnnxPredictor):
    """Keeps the graph that it saw last."""

    seen: tuple[Float32, Int64, Float32] | None = None

    def outputs(self, x: Float32, edge_index: Int64, edge_attr: Float32) -> tuple[Float32, ...]:
        """Keep the graph and go on."""
        self.seen = x, edge_index, edge_attr
        return super().outputs(x, edge_index, edge_attr)


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
def main(bundle: Path) -> None:
    """Compare one call with many, for a BUNDLE."""
    opened = load_bundle(bundle)
    model = open_model(opened, device="cpu")
    network = Recorder(opened.model_path, device="cpu")
    model = replace(model, predictor=network)
    for side in (256, 512, 1408):
        source = make_phantom("colonies", (1, side, side), seed=side)
        network.seen = None
        segment_source(source, model)
        assert network.seen is not None
        x, edges, attr = network.seen
        whole = seconds(lambda source=source: segment_source(source, model))
        for n in (8, 32):
            many = np.tile(x, (n, 1))
            shifted = np.concatenate([edges + i * len(x) for i in range(n)], axis=1)
            attrs = np.tile(attr, (n, 1))
            # B023: both are called before the loop goes on
            one_call = seconds(lambda: network.outputs(many, shifted, attrs))  # noqa: B023
            calls = seconds(lambda: [network.outputs(x, edges, attr) for _ in range(n)])  # noqa: B023
            click.echo(
                f"{n} graphs of {len(x)} nodes: {n} calls {calls:.3f} s, one call {one_call:.3f} s "
                f"({calls / one_call:.2f}x); whole requests {n * whole:.3f} s "
                f"({n * whole / (n * whole - calls + one_call):.2f}x with one call)"
            )


def seconds(run: Callable[[], object]) -> float:
    """Wall seconds of the quickest of some runs, after one that is not counted."""
    run()
    found = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return min(found)


if __name__ == "__main__":
    main()
