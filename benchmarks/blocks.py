"""Measure the compiled work on blocks: CPU nanoseconds per pixel, kernel by kernel.

    python benchmarks/blocks.py IMAGE [--nodes 3000] [--size 2048] [--repeats 5] [--voxels]

IMAGE is mirrored and tiled to `size` pixels a side (a volume stays as it is, and with --voxels its
voxels count as cubes). CPU time of one thread, the median of the repeats; compiling does not count.
"""

import argparse
import statistics
import time
from collections import defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import numpy as np

from spixgraph.graph.blocks import describe, octaves
from spixgraph.graph.blocks.pixel_maps import pixel_maps
from spixgraph.graph.blocks.plan import BlockPlan, block_plan
from spixgraph.io.images import open_image
from spixgraph.io.limits import intensity_limits, read_scaled
from spixgraph.superpixels.basins import block
from spixgraph.superpixels.basins.block import Workspace
from spixgraph.superpixels.basins.levels import ImageLevels
from spixgraph.superpixels.basins.plan import make_plan

ALL = (slice(None), slice(None), slice(None))
spent: dict[str, float] = defaultdict(float)


def time_kernels(module: ModuleType) -> None:
    """Let every kernel that a module calls add its CPU time to `spent`."""
    for name, kernel in list(vars(module).items()):
        if hasattr(kernel, "py_func"):
            setattr(module, name, _timed(name, kernel))


def _timed(name: str, kernel: Any) -> Any:
    def call(*arguments: Any) -> Any:
        begin = time.thread_time()
        result = kernel(*arguments)
        spent[name] += time.thread_time() - begin
        return result

    return call


def levels_of(path: Path, size: int, *, voxels: bool) -> tuple[ImageLevels, Any]:
    """Read an image, and tile one slice to a square."""
    with open_image(path) as source:
        image = read_scaled(source, intensity_limits(source), *ALL)
        spacing = (1.0, 1.0, 1.0) if voxels else source.info.pixel_size_um
    if len(image) == 1:
        image = np.concatenate([image, image[:, ::-1]], axis=1)
        image = np.concatenate([image, image[:, :, ::-1]], axis=2)
        n_y, n_x = (-(-size // n) for n in image.shape[1:3])
        image = np.tile(image, (1, n_y, n_x, 1))[:, :size, :size]
    return ImageLevels(image), spacing


def measure(source: ImageLevels, plan: BlockPlan, repeats: int) -> None:
    """Print a Markdown table."""
    numbers = range(plan.basins.grid.n_blocks)
    boxes = [source.read(plan.tile_box(number)) for number in numbers]
    tiles = [
        (plan.pad_tile(box, number), plan.place(number))
        for box, number in zip(boxes, numbers, strict=True)
    ]
    work, n_pixels = Workspace(), float(np.prod(source.shape_zyx))
    rows: dict[str, list[float]] = defaultdict(list)
    for repeat in range(repeats + 1):
        spent.clear()
        found = {"describe_block": 0.0, "pixel_maps": 0.0}
        for tile, place in tiles:
            begin = time.thread_time()
            describe.describe_block(tile, place, plan, work)
            middle = time.thread_time()
            kernels = dict(spent)
            pixel_maps(tile, place, plan, work)
            spent.clear()
            spent.update(kernels)
            found["describe_block"] += middle - begin
            found["pixel_maps"] += time.thread_time() - middle
        for name, seconds in (found | spent).items() if repeat else ():
            rows[name].append(seconds * 1e9 / n_pixels)
    click.echo("| step | CPU ns per pixel |\n|---|---|")
    for name, values in sorted(rows.items(), key=lambda row: -statistics.median(row[1])):
        click.echo(f"| {name} | {statistics.median(values):.2f} |")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path)
    parser.add_argument("--nodes", type=float, default=3000.0)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--voxels", action="store_true")
    arguments = parser.parse_args()
    source, spacing = levels_of(arguments.image, arguments.size, voxels=arguments.voxels)
    basins = make_plan(source, nodes_per_megapixel=arguments.nodes, spacing_zyx=spacing)
    for module in (describe, octaves, block):
        time_kernels(module)
    measure(source, block_plan(basins, spacing), arguments.repeats)


if __name__ == "__main__":
    main()
