"""Superpixels of an image in memory, or of any set of its blocks."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import local

import numpy as np

from spixgraph.arrays import ImageZYXC, LabelsZYX, PixelSizeUm, require_image
from spixgraph.errors import InputError
from spixgraph.superpixels.basins.block import Workspace, label_block
from spixgraph.superpixels.basins.grid import BasinPlan
from spixgraph.superpixels.basins.levels import ImageLevels, LevelSource, UInt16, read_with_halo
from spixgraph.superpixels.basins.plan import make_plan


def basin_labels(
    image: ImageZYXC,
    *,
    nodes_per_megapixel: float,
    spacing_zyx: PixelSizeUm | None = None,
    workers: int = 1,
) -> LabelsZYX:
    """Cut an image into superpixels: basins of its gradient, merged inside barrier blocks.

    Parameters
    ----------
    image : (Z, Y, X, C) float32
        Intensities scaled with image-wide limits to 0..1; rounded to 15 bits.
    nodes_per_megapixel : float
        Wanted superpixels per million pixels (voxels in 3D), > 0; met within a few per cent,
        see `plan.make_plan` for flat and for tiny images.
    spacing_zyx : three floats, optional
        Pixel distances of the axes, in any unit. Basins reach across slices where z is at most
        three times the distance in the plane; else, or where it is unknown, slices are cut one
        by one.
    workers : int
        Threads; the result does not depend on it.

    Returns
    -------
    labels : (Z, Y, X) int32
        Dense ids 0..n-1, each connected (by faces, edges and corners) and within one barrier
        block. Ids rise with the number of the block, then with the first pixel.

    Raises
    ------
    InputError
        If `image` is not a finite (Z, Y, X, C) float32 array or a setting is out of range.
    """
    require_image(image)
    source = ImageLevels(image)
    plan = make_plan(
        source,
        nodes_per_megapixel=nodes_per_megapixel,
        spacing_zyx=spacing_zyx,
        workers=workers,
    )
    labels = np.empty(source.shape_zyx, np.int32)
    first = 0
    numbers = range(plan.grid.n_blocks)
    blocks = label_blocks(source, plan, numbers, workers=workers)
    for number, (found, n) in zip(numbers, blocks, strict=True):
        labels[plan.grid.box(number)] = found.astype(np.int32) + first
        first += n
    return labels


def label_blocks(
    source: LevelSource, plan: BasinPlan, numbers: Sequence[int], *, workers: int = 1
) -> Iterator[tuple[UInt16, int]]:
    """Yield labels 0..n-1 (Z, Y, X) uint16 and the number of superpixels of blocks, in order.

    Parameters
    ----------
    source : LevelSource
    plan : BasinPlan
        Of the whole image.
    numbers : sequence of int
        Blocks of `plan.grid`.
    workers : int
        Threads; at most twice as many blocks are in memory.

    Raises
    ------
    InputError
        If `workers` is < 1.
    """
    if workers < 1:
        raise InputError(f"workers must be >= 1, got {workers}")
    thread = local()

    def label(number: int) -> tuple[UInt16, int]:
        if not hasattr(thread, "work"):
            thread.work = Workspace()
        halo = plan.grid.halo_zyx
        tile = read_with_halo(source, plan.grid.box(number), halo)
        labels, n, _ = label_block(tile, halo, plan.grid.size(number), plan, thread.work)
        return labels, n

    waiting: list[Future[tuple[UInt16, int]]] = []
    with ThreadPoolExecutor(workers) as pool:
        for number in numbers:
            waiting.append(pool.submit(label, number))
            if len(waiting) == 2 * workers:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()
