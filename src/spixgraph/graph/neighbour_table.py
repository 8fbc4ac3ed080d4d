"""Edges as a padded table, so that aggregation needs no scatter.

Why: onnxruntime's ScatterND with reduction gives wrong rows on several threads, and a gather with
a sentinel is also faster. A node with more neighbours than the table is wide gets extra rows,
which a second gather adds up; none is dropped.
"""

from dataclasses import dataclass

import numpy as np

from spixgraph.arrays import Array, Float32, Int64
from spixgraph.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class NeighbourTable:
    """Incoming edges of each node, `width` to a row.

    With ``messages`` zero at the sentinels, the sum over the incoming edges of each node is::

        row_sum = sum over k of message(nbr[:, k], slot[:, k], owner)
        hub_sum = concat(row_sum, 0)[hub].sum(1)
        node_sum = row_sum[:n] + concat(hub_sum, 0)[hub_of_node]

    Attributes
    ----------
    nbr : (r, K) int64
        Source node of each edge; sentinel n.
    slot : (r, K) int64
        Number of each edge in `edge_index`; sentinel E.
    owner : (r,) int64
        Target node of the row: rows 0..n-1 are the nodes, the rest are surplus rows.
    hub : (h, J) int64
        Surplus rows of each node that has any; sentinel r. Padded so that h >= 1 and J >= 1.
    hub_of_node : (n,) int64
        Row of `hub`; sentinel h.
    degree : (n,) float32
        Number of incoming edges, at least 1, to divide by.
    """

    nbr: Int64
    slot: Int64
    owner: Int64
    hub: Int64
    hub_of_node: Int64
    degree: Float32

    def as_inputs(self) -> dict[str, Array]:
        """Name the arrays in the order of the inputs of an exported network."""
        return {
            "nbr": self.nbr,
            "slot": self.slot,
            "owner": self.owner,
            "hub": self.hub,
            "hub_of_node": self.hub_of_node,
            "degree": self.degree,
        }


def neighbour_table(edge_index: Int64, n_regions: int, *, width: int = 8) -> NeighbourTable:
    """Fold `edge_index` into a table of `width` neighbours per row.

    Parameters
    ----------
    edge_index : (2, E) int64
        (source, target); any order, E >= 0. Edges of a node keep their order.
    n_regions : int
        Number of nodes, >= 1.
    width : int
        Neighbours per row, >= 1.

    Returns
    -------
    NeighbourTable

    Raises
    ------
    InputError
        If a shape, a dtype, a node number, `n_regions` or `width` is out of range.
    """
    _check(edge_index, n_regions, width)
    source, target = edge_index
    n_edges = len(source)
    degree = np.bincount(target, minlength=n_regions)

    # Strategy: give each edge its rank among the edges of its target; rank tells row and column.
    # - sorted by target, rank is the distance from the first edge of that target;
    # - rank < width lies in the row of the node itself, the rest in its surplus rows;
    # - surplus rows are numbered by node, so `first` is a running sum of their counts.
    order = np.argsort(target, kind="stable")
    rank = np.arange(n_edges) - np.repeat(np.cumsum(degree) - degree, degree)
    n_surplus = np.maximum(-(-degree // width) - 1, 0)
    first = n_regions + np.cumsum(n_surplus) - n_surplus
    owner = np.concatenate([np.arange(n_regions), np.repeat(np.arange(n_regions), n_surplus)])

    to = target[order]
    row = np.where(rank < width, to, first[to] + rank // width - 1)
    nbr = np.full((len(owner), width), n_regions, np.int64)
    slot = np.full((len(owner), width), n_edges, np.int64)
    nbr[row, rank % width] = source[order]
    slot[row, rank % width] = order
    hub, hub_of_node = _hubs(n_surplus, first, len(owner))
    return NeighbourTable(
        nbr, slot, owner, hub, hub_of_node, np.maximum(degree, 1).astype(np.float32)
    )


def _hubs(n_surplus: Int64, first: Int64, n_rows: int) -> tuple[Int64, Int64]:
    """List the surplus rows of each node that has any."""
    nodes = np.flatnonzero(n_surplus)
    n_hubs = max(1, len(nodes))
    column = np.arange(max(1, int(n_surplus.max(initial=0))))
    hub = np.full((n_hubs, len(column)), n_rows, np.int64)
    rows = first[nodes, None] + column
    hub[: len(nodes)] = np.where(column < n_surplus[nodes, None], rows, n_rows)
    hub_of_node = np.full(len(n_surplus), n_hubs, np.int64)
    hub_of_node[nodes] = np.arange(len(nodes))
    return hub, hub_of_node


def _check(edge_index: Int64, n_regions: int, width: int) -> None:
    """Raise `InputError` on edges or sizes out of range."""
    if edge_index.ndim != 2 or len(edge_index) != 2 or edge_index.dtype != np.int64:
        raise InputError(
            f"edge_index must be (2, E) int64, got {edge_index.shape} {edge_index.dtype}"
        )
    if n_regions < 1 or width < 1:
        raise InputError(f"n_regions and width must be >= 1, got {n_regions} and {width}")
    if edge_index.size and not (edge_index.min() >= 0 and edge_index.max() < n_regions):
        raise InputError(f"edge_index must hold nodes 0..{n_regions - 1}")
