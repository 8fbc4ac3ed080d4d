"""The pyramid of a tile: its octaves, smoothed; shared by node features and pixel maps.

Along z all of it happens in volumes only. Arrays are workspace: what is yielded lives until the
next one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from spixgraph.arrays import Array, Float32, ShapeZYX
from spixgraph.graph.blocks.cells import Filtered
from spixgraph.graph.blocks.filters import write_products, write_slopes, write_square
from spixgraph.graph.blocks.plan import BlockPlan
from spixgraph.graph.blocks.pyramid import (
    halve,
    smooth,
    smooth_z,
    square_and_halve,
    sum_channels,
)
from spixgraph.superpixels.basins.block import Workspace
from spixgraph.superpixels.basins.levels import UInt16


@dataclass(slots=True, eq=False)
class Octave:
    """A tile at one octave, smoothed once and twice.

    Attributes
    ----------
    number : int
    shape : three int
        Cells of the block, with the margin asked for.
    once, twice : (C, Z, Y, X) float32
        Channels; they reach 3 and 1 cells beyond `shape`.
    grey_once, grey_twice : (Z, Y, X) float32
        Sums of the channels.
    steep : (Z, Y, X) float32
        Squared gradient of `twice`, summed over channels, of `shape`.
    z_slope : float32
        See `filters.write_slopes`.
    """

    number: int
    shape: ShapeZYX
    once: Float32
    twice: Float32
    grey_once: Float32
    grey_twice: Float32
    steep: Float32
    z_slope: np.float32


class Pyramid:
    """Makes the octaves of one tile, from fine to coarse."""

    def __init__(self, tile: UInt16, size_zyx: ShapeZYX, plan: BlockPlan, work: Workspace) -> None:
        self._tile, self._size, self._plan, self._work = tile, size_zyx, plan, work
        self._deep = int(plan.is_volume)

    def octaves(self, numbers: range, *, margin: int = 0) -> Iterator[Octave]:
        """Smooth each octave over the block and `margin` cells around it."""
        levels: Array = self._tile
        for number in range(numbers.stop):
            if number:
                levels = self._halved(levels, number, "levels")
            if number in numbers:
                yield self._octave(levels, number, margin)

    def textures(self) -> Iterator[tuple[int, Filtered]]:
        """Filter the octaves from 1 on; the last one, where it is not 1, in less detail."""
        plan = self._plan
        levels = self._halved(self._tile, 1, "levels")
        squares = self._whole("squares", 1, 1)
        square_and_halve(self._tile, squares[0])
        products = self._whole("products", 3, 1)
        write_products(levels, products)
        for number in range(1, plan.n_octaves):
            if number > 1:
                levels = self._halved(levels, number, "levels")
                squares = self._halved(squares, number, "squares")
            if number == plan.n_octaves - 1:
                yield number, self._wide(levels, squares, number)
                return
            if number > 1:
                products = self._halved(products, number, "products")
            yield number, self._textured(levels, squares, products, number)

    def _textured(
        self, levels: Float32, squares: Float32, products: Float32, number: int
    ) -> Filtered:
        octave = self._octave(levels, number, 0)
        square = self._work.array("square", octave.shape, np.float32)
        write_square(octave.once, 3, square)
        tensor = self._work.array("tensor", (3, *octave.shape), np.float32)
        z, y, _ = self._begin(number)
        smooth(products, z, y, tensor)
        return Filtered(
            octave.twice,
            octave.grey_twice,
            octave.steep,
            square,
            tensor,
            self._smooth(squares, number, octave.shape, 0, "smooth squares")[0],
            self._z_slope(number),
        )

    def _wide(self, levels: Float32, squares: Float32, number: int) -> Filtered:
        """Smooth once only: for that the halo need not be wider."""
        shape = self._plan.cells(self._size, number)
        once = self._smooth(levels, number, shape, 1, "wide")
        grey = self._grey(once, "grey wide")
        steep, square = self._work.array("slopes", (2, *shape), np.float32)
        write_slopes(once, self._z_slope(number), steep)
        write_square(once, 1, square)
        none = self._work.array("tensor", (3, 0, 0, 0), np.float32)
        smoothed = self._smooth(squares, number, shape, 0, "smooth squares")[0]
        return Filtered(once, grey, steep, square, none, smoothed, self._z_slope(number))

    def _octave(self, levels: Array, number: int, margin: int) -> Octave:
        z, y, x = self._plan.cells(self._size, number)
        shape = (z + 2 * margin * self._deep, y + 2 * margin, x + 2 * margin)
        once = self._smooth(levels, number, shape, 3, "once", margin)
        twice = self._work.array("twice", (len(once), *self._wider(shape, 1)), np.float32)
        self._smooth_into(once, (2 * self._deep, 2), twice)
        steep = self._work.array("slopes", (2, *shape), np.float32)[0]
        write_slopes(twice, self._z_slope(number), steep)
        grey = self._grey(once, "grey once"), self._grey(twice, "grey twice")
        return Octave(number, shape, once, twice, *grey, steep, self._z_slope(number))

    def _smooth(
        self, values: Array, number: int, shape: ShapeZYX, reach: int, name: str, margin: int = 0
    ) -> Float32:
        """Smooth (C, ...) cells once, `reach` cells beyond `shape`, which has a margin itself."""
        out: Float32 = self._work.array(
            f"{name} {reach}", (len(values), *self._wider(shape, reach)), np.float32
        )
        z, y, _ = self._begin(number)
        skip = (z - (reach + margin) * self._deep, y - reach - margin)
        self._smooth_into(values, skip, out)
        return out

    def _smooth_into(self, values: Array, skip: tuple[int, int], out: Float32) -> None:
        """Smooth what begins `skip` (z, and y and x) inside of `values`."""
        skip_z = skip[0]
        if self._deep:
            shape = (*out.shape[:2], *values.shape[2:])
            thin = self._work.array("smooth z", shape, np.float32)
            smooth_z(values, skip_z, thin)
            values, skip_z = thin, 0
        smooth(values, skip_z, skip[1], out)

    def _grey(self, channels: Float32, name: str) -> Float32:
        """Sum up the channels."""
        if len(channels) == 1:
            return channels[0]
        out: Float32 = self._work.array(name, channels.shape[1:], np.float32)
        sum_channels(channels, out)
        return out

    def _halved(self, values: Array, number: int, name: str) -> Float32:
        out = self._whole(name, len(values), number)
        halve(values, out)
        return out

    def _whole(self, name: str, n: int, number: int) -> Float32:
        """Room for n planes of the whole tile at one octave."""
        cell = self._plan.cell_zyx(number)
        z, y, x = (k // c for k, c in zip(self._tile.shape[1:], cell, strict=True))
        array: Float32 = self._work.array(f"{name} {number}", (n, z, y, x), np.float32)
        return array

    def _begin(self, number: int) -> ShapeZYX:
        """Cells before the block."""
        cell = self._plan.cell_zyx(number)
        z, y, x = (h // c for h, c in zip(self._plan.halo_zyx, cell, strict=True))
        return z, y, x

    def _wider(self, shape: ShapeZYX, n: int) -> ShapeZYX:
        """Add n cells on each side."""
        return shape[0] + 2 * n * self._deep, shape[1] + 2 * n, shape[2] + 2 * n

    def _z_slope(self, number: int) -> np.float32:
        """Length of an in-plane cell over the distance of two slices of cells; 0 for slices."""
        z, y, _ = self._plan.cell_zyx(number)
        return np.float32(y / (z * self._plan.z_step) if self._plan.z_step else 0)
