"""Measure `segment` from file to file: processor time by step, wall time, peak memory.

    python benchmarks/segment.py IMAGE [--size 8192] [--workers 2] [--nodes 3000] [--no-decoder]

IMAGE is mirrored and tiled to a square mosaic, written as an uncompressed tiled TIFF. The network
has the default shape (6 layers of 64) and random weights: what it says is noise, which is the worst
case for the masks, and what it takes is what a trained one takes.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import tifffile
import torch

from benchmarks.engine.mosaic import mosaic
from spixgraph.config.recipe import BasinParams, GraphRecipe
from spixgraph.export.bundle_writer import write_bundle
from spixgraph.graph.blocks.pixel_maps import pixel_map_names
from spixgraph.graph.pixel_samples import place_names
from spixgraph.graph.scaling import Scaling, fit_scaling
from spixgraph.graph.stream import image_graph
from spixgraph.io.images import ArraySource, open_image
from spixgraph.nets.build import build_node_net
from spixgraph.predict.bundle import load_bundle
from spixgraph.predict.card import ClassInfo
from spixgraph.predict.memory import memory_contract
from spixgraph.predict.model import NodeModel, open_model
from spixgraph.predict.steps import Steps
from spixgraph.predict.stream import segment_to_file
from spixgraph.resources import PeakMemory

HIDDEN, LAYERS = 64, 6


class Untrained:
    """A network with random weights, as `write_bundle` wants it."""

    def __init__(
        self,
        sample: ArraySource,
        nodes: float,
        *,
        decoder: bool,
        kind: str,
        members: int,
        hidden: int,
        layers: int,
    ) -> None:
        _, graph = image_graph(sample, nodes_per_megapixel=nodes, workers=2)
        self.node_scaling = fit_scaling([graph.x], graph.feature_names)
        self.edge_scaling = fit_scaling([graph.edge_attr], graph.edge_feature_names)
        columns = (*pixel_map_names(1, 4), *place_names(is_volume=False)) if decoder else ()
        self.pixel_scaling = Scaling.identity(columns) if decoder else None
        self.build: dict[str, Any] = {
            "kind": kind,
            "n_features": len(graph.feature_names),
            "n_edge_features": len(graph.edge_feature_names),
            "n_classes": 2,
            "hidden": hidden,
            "layers": layers,
            "dropout": 0.0,
            "n_pixel_columns": len(columns),
            "members": members,
        }
        self.temperature = 1.0
        torch.manual_seed(0)
        self.net = build_node_net(**self.build)


def make_model(
    folder: Path,
    pixels: np.ndarray,
    nodes: float,
    *,
    decoder: bool = True,
    kind: str = "gnn",
    members: int = 1,
    hidden: int = HIDDEN,
    layers: int = LAYERS,
) -> NodeModel:
    """Write a bundle with random weights and open it."""
    recipe = GraphRecipe(superpixels=BasinParams(nodes_per_megapixel=nodes))
    trained = Untrained(
        ArraySource(pixels[None, ..., None]), nodes,
        decoder=decoder, kind=kind, members=members, hidden=hidden, layers=layers,
    )  # fmt: skip
    colours = ("#000000", "#ffb000")
    write_bundle(
        folder,
        trained,
        name="untrained",
        recipe=recipe.model_dump(mode="json"),
        n_dims=2,
        n_channels=1,
        classes=[ClassInfo(id=k, name=f"class {k}", colour=c) for k, c in enumerate(colours)],
        pixel_size_um_range=None,
        metrics={},
        memory=memory_contract(recipe, 1, hidden=hidden),
        data_sha256="0" * 64,
        code_sha256="0" * 64,
    )
    return open_model(load_bundle(folder), device="cpu", threads=2)


class CpuSteps(Steps):
    """Processor time by step, too."""

    def __init__(self) -> None:
        super().__init__(self._start)
        self._last: tuple[str, float] | None = None
        self.cpu: dict[str, float] = {}

    def _start(self, name: str | None) -> None:
        now = time.process_time()
        if self._last is not None:
            self.cpu[self._last[0]] = now - self._last[1]
        self._last = None if name is None else (name, now)

    def stop(self) -> None:
        """End the last step."""
        self._start(None)


def measure(run: Callable[[CpuSteps], Any], n_pixels: int) -> None:
    """Print one table."""
    steps = CpuSteps()
    with PeakMemory() as memory:
        done = run(steps)
        steps.stop()
    wall, cpu = sum(steps.seconds.values()), sum(steps.cpu.values())
    click.echo("| step | processor ns/px | wall ns/px |\n|---|---|---|")
    for name, seconds in [*steps.cpu.items(), ("all", cpu)]:
        passed = steps.seconds.get(name, wall)
        click.echo(f"| {name} | {seconds / n_pixels * 1e9:.1f} | {passed / n_pixels * 1e9:.1f} |")
    click.echo(
        f"\n{n_pixels / 1e6:.0f} megapixels, {done.n_regions:,} superpixels: "
        f"{n_pixels / wall / 1e6:.1f} MP/s wall, {n_pixels / cpu / 1e6:.1f} MP/s per processor\n"
        f"peak {memory.peak_rss_bytes / 2**20:.0f} MiB, idle "
        f"{memory.baseline_rss_bytes / 2**20:.0f} MiB, predicted "
        f"{done.plan.peak_bytes / 2**20:.0f} MiB\n{done.plan}"
    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path)
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--nodes", type=float, default=3000.0)
    parser.add_argument("--no-decoder", action="store_true")
    parser.add_argument("--max-bytes", type=int)
    args = parser.parse_args()
    with open_image(args.image) as source:
        pixels = source.read(slice(0, 1), slice(None), slice(None))[0, ..., 0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tifffile.imwrite(folder / "i.tif", mosaic(pixels, args.size), tile=(512, 512))
        model = make_model(folder / "b", pixels, args.nodes, decoder=not args.no_decoder)
        segment_to_file(ArraySource(pixels[None, ..., None]), model, folder / "warm.tif")
        with open_image(folder / "i.tif") as image:
            measure(
                lambda steps: segment_to_file(
                    image, model, folder / "m.tif", workers=args.workers,
                    max_bytes=args.max_bytes, steps=steps,
                ),
                args.size**2,
            )  # fmt: skip


if __name__ == "__main__":
    main()
