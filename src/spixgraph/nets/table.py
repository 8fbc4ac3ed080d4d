"""Sums over neighbours by gathers, the form that every ONNX runtime computes exactly."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Table(NamedTuple):
    """`spixgraph.graph.neighbour_table.NeighbourTable` as tensors, with what its slots stand for.

    Attributes
    ----------
    columns : tuple of ((r,) int64, (r, D) float32)
        Source node and edge features of the first edge of each row, of the second, and so on;
        the features of sentinels are zero.
    owner, hub, hub_of_node, degree
        As in `NeighbourTable`.
    """

    columns: tuple[tuple[Tensor, Tensor], ...]
    owner: Tensor
    hub: Tensor
    hub_of_node: Tensor
    degree: Tensor

    @classmethod
    def of(cls, edge_attr: Tensor, nbr: Tensor, slot: Tensor, *others: Tensor) -> "Table":
        """Look up the (E, D) edge features once for all layers; `others` are as in `Table`.

        Also of networks side by side: tracing an export costs per look-up that is written here,
        not per look-up that is left when the exporter has found those that are alike.
        """
        features = with_row(edge_attr, 0.0)
        columns = range(nbr.shape[1])
        return cls(
            tuple((nbr[:, k], features.index_select(0, slot[:, k])) for k in columns), *others
        )

    def sum(self, message: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Add up the messages of the incoming edges of each node.

        Parameters
        ----------
        message : callable
            Maps (r,) source nodes and (r, D) edge features to (r, h) messages; zero for sentinels.

        Returns
        -------
        total : (n, h)
        """
        # Strategy: add column by column: the peak is a few (r, h) arrays, never (r, K, h).
        rows = message(*self.columns[0])
        for column in self.columns[1:]:
            rows = rows + message(*column)
        surplus = with_row(rows, 0.0)[self.hub].sum(1)
        n_regions = self.hub_of_node.shape[0]
        return rows[:n_regions] + with_row(surplus, 0.0).index_select(0, self.hub_of_node)


def with_row(rows: Tensor, value: float) -> Tensor:
    """Append to (n, h) `rows` the row that a sentinel points to."""
    return torch.cat([rows, rows.new_full((1, rows.shape[1]), value)])
