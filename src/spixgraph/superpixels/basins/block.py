"""One block of the barrier grid: from integer intensities to labels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spixgraph.arrays import Array, Int32, ShapeZYX
from spixgraph.superpixels.basins.contacts import find_sides, sum_basins
from spixgraph.superpixels.basins.descent import (
    find_lowest,
    find_roots,
    neighbour_steps,
    number_basins,
)
from spixgraph.superpixels.basins.levels import UInt16
from spixgraph.superpixels.basins.merging import merge, name_regions, rename_pixels, unite
from spixgraph.superpixels.basins.smoothing import (
    add_squared_gradient,
    smooth_along,
    smooth_lines,
    write_gradient,
)
from spixgraph.superpixels.basins.tables import Buckets, Contacts, Regions

MAX_REGIONS = 65536


class Workspace:
    """Arrays of one worker, made once and used for every block."""

    def __init__(self) -> None:
        self._flat: dict[str, Array] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Any:
        """Return the array `name` in this shape; what it held is lost or not."""
        size = int(np.prod(shape))
        flat = self._flat.get(name)
        if flat is None or flat.size < size:
            flat = self._flat[name] = np.empty(size, dtype)
        return flat[:size].reshape(shape)

    def contacts(self, name: str, n: int) -> Contacts:
        """Return a table with room for `n` rows."""
        return Contacts(
            self.array(f"{name} key", (n,), np.uint64),
            self.array(f"{name} border", (n,), np.uint64),
        )

    def buckets(self, n: int) -> Buckets:
        """Return workspace for `n` rows."""
        return Buckets(
            self.array("start", (MAX_REGIONS + 1,), np.int32),
            self.array("row", (MAX_REGIONS,), np.int32),
            self.array("high", (n,), np.uint16),
            self.array("bucket border", (n,), np.uint64),
        )

    def regions(self, n_planes: int) -> Regions:
        """Return a table of regions."""
        return Regions(
            self.array("n_pixels", (MAX_REGIONS,), np.int64),
            self.array("total", (MAX_REGIONS, n_planes), np.int64),
            self.array("mean", (MAX_REGIONS, n_planes), np.float32),
            self.array("parent", (MAX_REGIONS,), np.int32),
            self.array("best", (MAX_REGIONS,), np.uint64),
            self.array("state", (MAX_REGIONS,), np.uint8),
        )


@dataclass(slots=True)
class BasinGraph:
    """Regions and contacts of one block."""

    regions: Regions
    contacts: Contacts
    n_regions: int
    n_contacts: int

    def copy(self) -> "BasinGraph":
        """Copy what a merge needs, out of the workspace and without spare room."""
        n_pixels, total = (rows[: self.n_regions].copy() for rows in self.regions[:2])
        empty = np.empty(0)
        return BasinGraph(
            Regions(n_pixels, total, empty, empty, empty, empty),
            Contacts(*(rows[: self.n_contacts].copy() for rows in self.contacts)),
            self.n_regions,
            self.n_contacts,
        )

    def load(self, work: Workspace) -> "BasinGraph":
        """Put a copy back into a workspace, to be merged there."""
        regions = work.regions(self.regions.total.shape[1])
        contacts = work.contacts("contacts", self.n_contacts)
        tables = (contacts, self.contacts), (regions[:2], self.regions[:2])
        for to, kept in tables:
            for rows, values in zip(to, kept, strict=True):
                rows[: len(values)] = values
        return BasinGraph(regions, contacts, self.n_regions, self.n_contacts)


@dataclass(slots=True)
class Basins:
    """The basins of one block; arrays are workspace, overwritten by the next block.

    Attributes
    ----------
    labels : (Z, Y, X) int32
    gradient : (Z, Y, X) uint16
        Roots of the squared central differences summed over channels; twice the slope per pixel.
    planes : (P, Z, Y, X) uint16
        Channels, smoothed once, then the gradient.
    graph : BasinGraph
    """

    labels: Int32
    gradient: UInt16
    planes: UInt16
    graph: BasinGraph


def find_basins(tile: UInt16, halo_zyx: ShapeZYX, work: Workspace) -> Basins:
    """Cut a block into the basins of its gradient, add up their pixels, find their contacts.

    Parameters
    ----------
    tile : (C, Z + 2 h_z, Y + 2 h_y, X + 2 h_x) uint16
        Levels of the block and its halo.
    halo_zyx : three int
        5 or, along z where slices stand on their own, 0.
    work : Workspace
        Of this thread; the result lives in it until the next call.
    """
    deep = int(halo_zyx[0] > 0)
    n_z, n_y, n_x = (n - 2 * h for n, h in zip(tile.shape[1:], halo_zyx, strict=True))
    shape = (n_z, n_y, n_x)
    planes = work.array("planes", (len(tile) + 1, *shape), np.uint16)
    padded = _gradient(tile, shape, planes, work)
    gradient = padded[deep : deep + n_z, 1:-1, 1:-1]
    planes[-1] = gradient
    labels, n_regions = _label(padded, shape, work)
    graph = _basin_graph(labels, padded, planes, n_regions, work)
    return Basins(labels, gradient, planes, graph)


def _basin_graph(
    labels: Int32, padded: UInt16, planes: UInt16, n_regions: int, work: Workspace
) -> BasinGraph:
    """Add up regions and find their contacts."""
    place = work.array("place", (labels.shape[2] + 1,), np.int32)
    room = labels.size * (3 if labels.shape[0] > 1 else 2)
    sides, contacts = work.contacts("sides", room), work.contacts("contacts", room)
    n_sides = find_sides(labels, padded, place, sides)
    n_contacts = unite(sides, n_sides, n_regions, work.buckets(room), contacts, 0)
    regions = work.regions(len(planes))
    regions.n_pixels[:n_regions] = 0
    regions.total[:n_regions] = 0
    sum_basins(labels, planes, place, work.array("prefix", place.shape, np.int64), regions)
    return BasinGraph(regions, contacts, n_regions, n_contacts)


def _gradient(tile: UInt16, shape: ShapeZYX, planes: UInt16, work: Workspace) -> UInt16:
    """Smooth each channel once into `planes` and twice into the gradient, with a rim of 65535."""
    square = work.array("square", shape, np.uint32)
    square[...] = 0
    deep = int(tile.shape[1] > shape[0])
    for channel, plane in zip(tile, planes, strict=False):
        once = smooth_channel(np.ascontiguousarray(channel), work, "once", is_volume=deep == 1)
        z, y, x = ((a - b) // 2 for a, b in zip(once.shape, shape, strict=True))
        plane[...] = once[z : z + shape[0], y : y + shape[1], x : x + shape[2]]
        add_squared_gradient(smooth_channel(once, work, "twice", is_volume=deep == 1), square)
    padded = work.array("padded", (shape[0] + 2 * deep, shape[1] + 2, shape[2] + 2), np.uint16)
    padded[...] = 65535
    write_gradient(square, padded)
    return padded


def smooth_channel(channel: UInt16, work: Workspace, name: str, *, is_volume: bool) -> UInt16:
    """Smooth (Z, Y, X) levels; y and x, and z in a volume, get shorter by four."""
    n_z, n_y, n_x = channel.shape
    if is_volume:
        thin = work.array(f"{name} z", (1, n_z - 4, n_y * n_x), np.uint16)
        smooth_lines(channel.reshape(1, n_z, n_y * n_x), thin)
        n_z, channel = n_z - 4, thin.reshape(n_z - 4, n_y, n_x)
    low = work.array(f"{name} y", (n_z, n_y - 4, n_x), np.uint16)
    smooth_lines(channel, low)
    out = work.array(f"{name} x", (n_z * (n_y - 4), n_x - 4), np.uint16)
    smooth_along(low.reshape(n_z * (n_y - 4), n_x), out)
    return out.reshape(n_z, n_y - 4, n_x - 4)


def _label(padded: UInt16, shape: ShapeZYX, work: Workspace) -> tuple[Int32, int]:
    """Label the basins 0..n-1 in the order of their first pixel."""
    number = work.array("number", shape, np.uint8)
    find_lowest(padded, work.array("lowest", (shape[2],), np.uint16), number)
    steps = neighbour_steps(shape, is_volume=padded.shape[0] > shape[0])
    root, name, labels = (
        work.array(key, (number.size,), np.int32) for key in ("root", "name", "labels")
    )
    find_roots(number.reshape(-1), steps, root)
    n_basins = number_basins(root, name, labels)
    return labels.reshape(shape), n_basins


def merge_basins(graph: BasinGraph, merge_cost: float, work: Workspace) -> int:
    """Merge in place up to `merge_cost`; return the number of regions left.

    ``graph.regions.parent`` becomes the number of the region in which each basin ended, in the
    order of their first pixel. Contacts are left under the numbers of basins.
    """
    graph.n_contacts = merge(
        graph.contacts,
        graph.n_contacts,
        graph.regions,
        graph.n_regions,
        float(merge_cost),
        work.contacts("sides", graph.n_contacts),
        work.buckets(graph.n_contacts),
        work.array("alive", (MAX_REGIONS,), np.int32),
        work.array("gone", (MAX_REGIONS,), np.int32),
    )
    name = work.array("region name", (MAX_REGIONS,), np.int32)
    return int(name_regions(graph.regions.parent, graph.n_regions, name))


def label_block(
    tile: UInt16, halo_zyx: ShapeZYX, merge_cost: float, work: Workspace
) -> tuple[Int32, int]:
    """Cut a block into superpixels.

    Parameters
    ----------
    tile, halo_zyx, work
        As for `find_basins`.
    merge_cost : float
        Regions merge as long as that costs less, >= 0.

    Returns
    -------
    labels : (Z, Y, X) int32
        Ids 0..n-1 in the order of their first pixel; workspace, overwritten by the next call.
    n : int
    """
    basins = find_basins(tile, halo_zyx, work)
    n_regions = merge_basins(basins.graph, merge_cost, work)
    rename_pixels(basins.labels.reshape(-1), basins.graph.regions.parent)
    return basins.labels, n_regions
