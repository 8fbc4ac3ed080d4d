"""Measure the engine against skimage SLIC in one run: speed as ratios, peak memory, ceiling.

    python benchmarks/engine.py speed IMAGE [--size 4096] [--repeats 5]
    python benchmarks/engine.py ceiling DATA_SET_FOLDER ... [--images 4]

IMAGE is mirrored and tiled to a square mosaic of `size` pixels, written as an uncompressed TIFF;
the engine goes from that file to the graph on disk. skimage SLIC reads it and labels, no more. Runs
alternate; each ratio is of two runs side by side, and their median is reported. Ceiling is the
macro IoU of the best label per superpixel.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import numpy as np
import tifffile

from spixgraph.arrays import NOT_ANNOTATED, Array, ImageZYXC, LabelsZYX
from spixgraph.evaluate.counts import confusion, scores
from spixgraph.graph.stream import stream_graph
from spixgraph.io.dataset import read_dataset
from spixgraph.io.images import ArraySource, open_image
from spixgraph.io.limits import intensity_limits, read_scaled
from spixgraph.io.masks import read_mask
from spixgraph.resources import PeakMemory
from spixgraph.superpixels.basins import basin_labels
from spixgraph.superpixels.quality import ceiling_mask
from spixgraph.superpixels.slic import slic_labels

ALL = (slice(None), slice(None), slice(None))


def mosaic(pixels: Array, size: int) -> Array:
    """Mirror and tile (Y, X) pixels to a square."""
    tile = np.concatenate([pixels, pixels[:, ::-1]], axis=1)
    tile = np.concatenate([tile, tile[::-1]])
    repeats = -(-size // min(tile.shape[:2]))
    return np.ascontiguousarray(np.tile(tile, (repeats, repeats))[:size, :size])


def speed(image: Path, size: int, repeats: int, nodes: float) -> None:
    """Print a Markdown table of one row per number of threads."""
    with open_image(image) as source:
        pixels = source.read(*ALL)[0, ..., 0]
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "mosaic.tif", Path(folder) / "graph.zarr"
        tifffile.imwrite(path, mosaic(pixels, size), tile=(512, 512))
        warm = ArraySource(pixels[None, :600, :600, None])
        stream_graph(warm, out, nodes_per_megapixel=nodes, workers=2)
        rows: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
        peak = dict.fromkeys(rows, 0)
        for _ in range(repeats):
            for workers, times in rows.items():
                with PeakMemory() as memory:
                    ours = _timed(partial(_graph, path, out, nodes, workers))
                peak[workers] = max(peak[workers], memory.above_baseline_bytes)
                times.append((ours, _timed(partial(_slic, path, nodes)) if size <= 4096 else 0.0))
    click.echo(f"mosaic of {image.name}, {size} x {size} px, {nodes:.0f} nodes per megapixel\n")
    click.echo("| threads | megapixels/s, file to file | against skimage SLIC alone | peak MiB |")
    click.echo("|---|---|---|---|")
    for workers, times in rows.items():
        rate = size**2 / 1e6 / statistics.median(t for t, _ in times)
        ratio = statistics.median(s / t for t, s in times)
        click.echo(f"| {workers} | {rate:.1f} | {ratio:.1f}x | {peak[workers] / 2**20:.0f} |")


def _timed(function: Callable[[], None]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def _graph(path: Path, out: Path, nodes: float, workers: int) -> None:
    with open_image(path) as source:
        stream_graph(source, out, nodes_per_megapixel=nodes, workers=workers)


def _slic(path: Path, nodes: float) -> None:
    with open_image(path) as source:
        image = read_scaled(source, intensity_limits(source), *ALL)
    _slic_labels(image, nodes, compactness=0.1)


def _slic_labels(image: ImageZYXC, nodes: float, *, compactness: float) -> LabelsZYX:
    wanted = int(nodes * image[..., 0].size / 1e6)
    return slic_labels(
        image, n_segments=wanted, compactness=compactness, sigma_px=1.0, max_iterations=5
    )


def ceiling(folders: list[Path], n_images: int) -> None:
    """Print a Markdown table of macro IoU ceilings."""
    click.echo(
        "| data set | nodes/MP | SLIC, best of two compactnesses | basins | basins, nodes/MP |"
    )
    click.echo("|---|---|---|---|---|")
    for folder in folders:
        dataset = read_dataset(folder)
        items = dataset.items[:: max(1, len(dataset.items) // n_images)][:n_images]
        for nodes in (1000, 2500, 8000):
            rows = [_ceilings(item.image, item.mask, nodes) for item in items]
            a, b, ours, density = np.mean(rows, axis=0)
            name = f"| {dataset.name} | {nodes} "
            click.echo(f"{name}| {max(a, b):.4f} | {ours:.4f} | {density:.0f} |")


def _ceilings(image: Path, mask: Path, nodes: int) -> list[float]:
    with open_image(image) as source:
        pixels = read_scaled(source, intensity_limits(source), *ALL)
    truth = read_mask(mask)
    n_classes = int(truth[truth != NOT_ANNOTATED].max()) + 1
    found = [_slic_labels(pixels, nodes, compactness=c) for c in (0.1, 0.3)]
    found.append(basin_labels(pixels, nodes_per_megapixel=nodes, workers=2))
    best = [ceiling_mask(labels, truth, n_classes) for labels in found]
    found_iou = [scores(confusion(truth, b, n_classes=n_classes)).macro_iou for b in best]
    return [*found_iou, (found[-1].max() + 1) / truth.size * 1e6]


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    fast = commands.add_parser("speed")
    fast.add_argument("image", type=Path)
    fast.add_argument("--size", type=int, default=4096)
    fast.add_argument("--repeats", type=int, default=5)
    fast.add_argument("--nodes", type=float, default=3000.0)
    good = commands.add_parser("ceiling")
    good.add_argument("folders", type=Path, nargs="+")
    good.add_argument("--images", type=int, default=4)
    arguments = parser.parse_args()
    if arguments.command == "speed":
        speed(arguments.image, arguments.size, arguments.repeats, arguments.nodes)
    else:
        ceiling(arguments.folders, arguments.images)


if __name__ == "__main__":
    main()
