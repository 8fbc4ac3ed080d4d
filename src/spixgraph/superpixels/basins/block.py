"""One block of the barrier grid: from integer intensities to labels."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spixgraph.arrays import Array, ShapeZYX
from spixgraph.superpixels.basins.contacts import find_contacts, sum_basins
from spixgraph.superpixels.basins.descent import find_lowest, label_basins, neighbour_steps
from spixgraph.superpixels.basins.grid import BasinPlan
from spixgraph.superpixels.basins.levels import UInt16
from spixgraph.superpixels.basins.merging import find_ends, merge, number_labels, spread_labels
from spixgraph.superpixels.basins.refining import refine
from spixgraph.superpixels.basins.refining_volume import refine_volume
from spixgraph.superpixels.basins.smoothing import (
    add_squared_gradient,
    find_median,
    round_gradient,
    smooth_yx,
    smooth_z,
    weigh,
    write_gradient,
)
from spixgraph.superpixels.basins.tables import Contacts, Regions

MAX_REGIONS = 65536


class Workspace:
    """Arrays of one worker, made once and used for every block."""

    def __init__(self) -> None:
        self._flat: dict[tuple[str, npt.DTypeLike], Array] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Any:
        """Return the array `name` of this dtype in this shape; what it held is lost or not."""
        size = math.prod(shape)
        flat = self._flat.get((name, dtype))
        if flat is None or flat.size < size:
            flat = self._flat[name, dtype] = np.empty(size, dtype)
        return flat[:size].reshape(shape)

    def contacts(self, name: str, n: int) -> Contacts:
        """Return a table with room for `n` rows."""
        return Contacts(
            self.array(f"{name} key", (n,), np.uint64),
            self.array(f"{name} border", (n,), np.uint64),
            self.array(f"{name} top", (n,), np.uint16),
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
    labels : (Z, Y, X) uint16
    padded : uint16
        Gradient of the block with a rim of 65535, one pixel wide, along z in a volume only: roots
        of the squared central differences summed over channels, so twice the slope per pixel.
    once : (C, Z', Y', X') uint16
        Channels times their weight, smoothed once, three pixels beyond the block.
    graph : BasinGraph
    """

    labels: UInt16
    padded: UInt16
    once: UInt16
    graph: BasinGraph

    @property
    def gradient(self) -> UInt16:
        """The gradient (Z, Y, X) without its rim."""
        deep = (len(self.padded) - len(self.labels)) // 2
        return self.padded[deep : deep + len(self.labels), 1:-1, 1:-1]


def find_basins(
    tile: UInt16,
    begin_zyx: ShapeZYX,
    shape_zyx: ShapeZYX,
    plan: BasinPlan,
    work: Workspace,
) -> Basins:
    """Cut a block into the basins of its gradient, add up their pixels, find their contacts.

    Parameters
    ----------
    tile : (C, Z', Y', X') uint16
        Levels of the block and at least `BarrierGrid.halo_zyx` around it, in C order.
    begin_zyx, shape_zyx : three int
        Where in the tile the block begins, and its size.
    plan : BasinPlan
    work : Workspace
        Of this thread; the result lives in it until the next call.
    """
    deep = int(plan.grid.is_volume)
    once, padded = _gradient(tile, begin_zyx, shape_zyx, plan, work)
    steep = padded
    if plan.flatness > 0:
        steep = work.array("rounded", padded.shape, np.uint16)
        round_gradient(padded, _rounding(padded, plan, work), steep)
    number = work.array("number", shape_zyx, np.uint8)
    find_lowest(steep, work.array("lowest", (shape_zyx[2],), np.uint16), number)
    root, waiting = (work.array(name, (number.size,), np.int32) for name in ("root", "waiting"))
    labels = work.array("basins", shape_zyx, np.uint16)
    steps = neighbour_steps(shape_zyx, is_volume=deep == 1)
    n = label_basins(number.reshape(-1), steps, root, waiting, labels.reshape(-1))
    return Basins(labels, padded, once, _basin_graph(labels, padded, once, n, work))


def _rounding(padded: UInt16, plan: BasinPlan, work: Workspace) -> np.float32:
    """One over the step to which gradients are rounded before basins are found, at most 1."""
    median = find_median(padded, work.array("median", (65536,), np.int32))
    return np.float32(1 / max(1.0, plan.flatness * median))


def _basin_graph(
    labels: UInt16, padded: UInt16, once: UInt16, n_regions: int, work: Workspace
) -> BasinGraph:
    """Add up regions and find their contacts."""
    deep = int(len(padded) > len(labels))
    contacts, n_contacts = list_contacts(labels, padded, n_regions, work)
    regions = work.regions(len(once) + 1)
    both = work.array("pixels and gradient", (n_regions,), np.uint64)
    sum_basins(labels, once, 3 * deep, 3, padded, regions, both)
    return BasinGraph(regions, contacts, n_regions, n_contacts)


def _gradient(
    tile: UInt16, begin_zyx: ShapeZYX, shape_zyx: ShapeZYX, plan: BasinPlan, work: Workspace
) -> tuple[UInt16, UInt16]:
    """Smooth each channel once, and twice for the gradient, with a rim of 65535."""
    deep = int(plan.grid.is_volume)
    square = work.array("square", shape_zyx, np.uint32)
    z, y, x = (n + 6 * d for n, d in zip(shape_zyx, (deep, 1, 1), strict=True))
    once = work.array("once", (len(tile), z, y, x), np.uint16)
    twice = work.array("twice", (z - 4 * deep, y - 4, x - 4), np.uint16)
    for i, (channel, weight) in enumerate(zip(tile, plan.channel_weights, strict=True)):
        source = channel
        if weight != 1:
            source = work.array("weighed", channel.shape, np.uint16)
            weigh(channel, np.float32(weight), source)
        _smooth(source, (begin_zyx[0] - 3 * deep, begin_zyx[1] - 3), once[i], work, deep)
        _smooth(once[i], (2 * deep, 2), twice, work, deep)
        add_squared_gradient(twice, i == 0, square)
    padded = work.array(
        "padded", (shape_zyx[0] + 2 * deep, shape_zyx[1] + 2, shape_zyx[2] + 2), np.uint16
    )
    write_gradient(square, padded)
    return once, padded


def _smooth(source: UInt16, skip: tuple[int, int], out: UInt16, work: Workspace, deep: int) -> None:
    """Smooth y and x, and z in a volume; `out` begins `skip` (z, and y and x) inside `source`."""
    skip_z = skip[0]
    if deep:
        thin = work.array("smooth z", (len(out), *source.shape[1:]), np.uint16)
        smooth_z(source, skip_z, thin)
        source, skip_z = thin, 0
    smooth_yx(source, skip_z, skip[1], work.array("line", (out.shape[2] + 4,), np.uint16), out)


def merge_basins(graph: BasinGraph, merge_cost: float, compactness: float, work: Workspace) -> int:
    """Merge in place up to `merge_cost`; return the number of regions left.

    ``graph.regions.parent`` becomes, for each basin, the one that stands for its region.
    """
    n = graph.n_contacts
    graph.n_contacts = merge(
        graph.contacts,
        n,
        graph.regions,
        graph.n_regions,
        float(merge_cost),
        np.float32(compactness),
        work.contacts("aside", n),
        work.array("table", (4 << n.bit_length(),), np.uint64),
        work.array("alive", (MAX_REGIONS,), np.int32),
        work.array("gone", (MAX_REGIONS,), np.int32),
    )
    n_left: int = find_ends(graph.regions.parent, graph.n_regions)
    return n_left


def list_contacts(labels: UInt16, padded: UInt16, n: int, work: Workspace) -> tuple[Contacts, int]:
    """List pairs of labels 0..n-1 that share pixel sides, in workspace; return how many, too."""
    n_z, _, n_x = labels.shape
    contacts = work.contacts("contacts", labels.size * (3 if n_z > 1 else 2))
    place = work.array("place", (n_x,), np.int32)
    n_contacts, n_slots = -1, 1 << ((24 if n_z > 1 else 12) * n + 4 * n_x).bit_length()
    while n_contacts < 0:
        table = work.array("table", (n_slots,), np.uint64)
        n_contacts = find_contacts(labels, padded, place, table, contacts)
        n_slots *= 2
    return contacts, n_contacts


def label_block(
    tile: UInt16, begin_zyx: ShapeZYX, shape_zyx: ShapeZYX, plan: BasinPlan, work: Workspace
) -> tuple[UInt16, int, Basins]:
    """Cut a block into superpixels.

    Parameters
    ----------
    tile, begin_zyx, shape_zyx, plan, work
        As for `find_basins`.

    Returns
    -------
    labels : (Z, Y, X) uint16
        Ids 0..n-1 in the order of their first pixel; a new array.
    n : int
    basins : Basins
        What the superpixels were made from; workspace.
    """
    basins = find_basins(tile, begin_zyx, shape_zyx, plan, work)
    merge_basins(basins.graph, plan.merge_cost, plan.compactness, work)
    regions, n_basins = basins.graph.regions, basins.graph.n_regions
    labels = np.empty(shape_zyx, np.uint16)
    spread_labels(basins.labels.reshape(-1), regions.parent, labels.reshape(-1))
    place = work.array("place", (shape_zyx[2],), np.int32)
    if plan.grid.is_volume:
        z, y, x = shape_zyx
        wide = work.array("wide", (z + 2, y + 2, x + 2), np.uint16)
        refine_volume(labels, basins.once, 3, regions, place, wide)
    else:
        differs = work.array("differs", (shape_zyx[2],), np.uint8)
        for z in range(shape_zyx[0]):
            refine(labels[z], basins.once[:, z], 3, regions, differs, place)
    name = work.array("region name", (n_basins,), np.int32)
    n: int = number_labels(labels.reshape(-1), name)
    return labels, n, basins
