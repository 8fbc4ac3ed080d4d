"""Edges both ways, in the order of their targets, and what describes them."""

from dataclasses import dataclass

import numpy as np

from spixgraph.arrays import Array, Float32, Float64, Int64
from spixgraph.superpixels.basins.jit import kernel
from spixgraph.superpixels.basins.levels import TOP

N_BORDER_COLUMNS = 7
"""log_contact, gradient_mean, gradient_max, offset_z, offset_y, offset_x, log_size_ratio."""


@dataclass(frozen=True, slots=True, eq=False)
class NodeWindow:
    """Rows of the node tables for some ranges of ids, one behind the other.

    Attributes
    ----------
    start, stop : (R,) int64
        Ranges of ids, rising.
    centroid_px : (n, 3) float64
    n_pixels : (n,) int64
    intensity : (n, C) float64
    """

    start: Int64
    stop: Int64
    centroid_px: Float64
    n_pixels: Int64
    intensity: Float64


@dataclass(frozen=True, slots=True, eq=False)
class EdgeRows:
    """The edges that lead to the superpixels of one strip.

    Attributes
    ----------
    edge_index : (2, E) int64
    edge_attr : (E, D) float32
    contrast : (n, C) float32
        Of the targets: intensity against the mean of the neighbours, weighted by contact.
    first : (n + 1,) int64
        Edges ``first[i]:first[i + 1]`` lead to target i.
    """

    edge_index: Int64
    edge_attr: Float32
    contrast: Float32
    first: Int64


def edges_to(
    contacts: Int64, targets: range, nodes: NodeWindow, scale_zyx: tuple[float, float, float]
) -> EdgeRows:
    """Make the edges that lead to some superpixels.

    Parameters
    ----------
    contacts : (P, 5) int64
        All contacts of the targets, each once, see `seams.CONTACT_COLUMNS`.
    targets : range
        Ids.
    nodes : NodeWindow
        Of the targets and their neighbours.
    scale_zyx : three float
        Turns distances in pixels into distances in superpixels.
    """
    first = np.zeros(len(targets) + 1, np.int64)
    count_edges(contacts, targets.start, targets.stop, first)
    n_edges, n_channels = int(first[-1]), nodes.intensity.shape[1]
    row = np.empty(n_edges, np.int64)
    edge_index = np.empty((2, n_edges), np.int64)
    sort_edges(contacts, targets.start, targets.stop, first, edge_index, row)
    edge_attr = np.empty((n_edges, N_BORDER_COLUMNS + n_channels), np.float32)
    contrast = np.empty((len(targets), n_channels), np.float32)
    describe_edges(
        contacts,
        edge_index,
        row,
        nodes.start,
        nodes.stop,
        nodes.centroid_px,
        nodes.n_pixels,
        nodes.intensity,
        np.array(scale_zyx),
        edge_attr,
    )
    subtract_neighbours(
        contacts,
        edge_index,
        row,
        first,
        targets.start,
        nodes.start,
        nodes.stop,
        nodes.intensity,
        contrast,
    )
    return EdgeRows(edge_index, edge_attr, contrast, first)


@kernel
def count_edges(contacts: Array, begin: int, end: int, first: Array) -> None:
    """Write where the edges of each target start."""
    for i in range(len(contacts)):
        u, v = contacts[i, 0], contacts[i, 1]
        if begin <= u < end:
            first[u - begin + 1] += 1
        if begin <= v < end:
            first[v - begin + 1] += 1
    for i in range(len(first) - 1):
        first[i + 1] += first[i]


@kernel
def sort_edges(
    contacts: Array, begin: int, end: int, first: Array, edge_index: Array, row: Array
) -> None:
    """Write sources and targets, sorted by target, then source, and the contact of each edge."""
    # Strategy: contacts come such that the sources of each target nearly rise;
    # - smaller sources first, then larger ones; insertion does the rest.
    place = first.copy()
    for side in range(2):
        for i in range(len(contacts)):
            target, source = contacts[i, 1 - side], contacts[i, side]
            if begin <= target < end:
                k = place[target - begin]
                place[target - begin] += 1
                while k > first[target - begin] and edge_index[0, k - 1] > source:
                    edge_index[0, k], row[k] = edge_index[0, k - 1], row[k - 1]
                    k -= 1
                edge_index[0, k], row[k] = source, i
    for i in range(end - begin):
        edge_index[1, first[i] : first[i + 1]] = begin + i


@kernel
def describe_edges(
    contacts: Array,
    edge_index: Array,
    row: Array,
    start: Array,
    stop: Array,
    centroid_px: Array,
    n_pixels: Array,
    intensity: Array,
    scale: Array,
    out: Array,
) -> None:
    """Write `N_BORDER_COLUMNS` columns, then the contrast of each channel."""
    for e in range(row.size):
        u = _place(edge_index[0, e], start, stop)
        v = _place(edge_index[1, e], start, stop)
        length, total = contacts[row[e], 2], contacts[row[e], 3]
        out[e, 0] = np.log(length)
        out[e, 1] = total / (length * (2.0 * TOP))
        out[e, 2] = contacts[row[e], 4] / (2.0 * TOP)
        for axis in range(3):
            out[e, 3 + axis] = (centroid_px[v, axis] - centroid_px[u, axis]) * scale[axis]
        out[e, 6] = np.log(n_pixels[v] / n_pixels[u])
        for c in range(intensity.shape[1]):
            out[e, 7 + c] = intensity[v, c] - intensity[u, c]


@kernel
def subtract_neighbours(
    contacts: Array,
    edge_index: Array,
    row: Array,
    first: Array,
    begin: int,
    start: Array,
    stop: Array,
    intensity: Array,
    out: Array,
) -> None:
    """Write the contrast of each target; 0 without neighbours."""
    for i in range(len(out)):
        v = _place(begin + i, start, stop)
        for c in range(intensity.shape[1]):
            total, weight = 0.0, 0
            for e in range(first[i], first[i + 1]):
                length = contacts[row[e], 2]
                total += length * intensity[_place(edge_index[0, e], start, stop), c]
                weight += length
            out[i, c] = intensity[v, c] - total / weight if weight else 0.0


@kernel
def _place(node: int, start: Array, stop: Array) -> int:
    """Row of a node in the window."""
    n_before = 0
    for i in range(start.size):
        if node < stop[i]:
            return n_before + node - start[i]
        n_before += stop[i] - start[i]
    return n_before
