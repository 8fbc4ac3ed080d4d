"""Sums over neighbours by gathers, the form that every ONNX runtime computes exactly."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Table(NamedTuple):
    """`spixgraph.graph.neighbour_table.NeighbourTable` as tensors."""

    nbr: Tensor
    slot: Tensor
    owner: Tensor
    hub: Tensor
    hub_of_node: Tensor
    degree: Tensor

    def sum(self, message: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Add up the messages of the incoming edges of each node.

        Parameters
        ----------
        message : callable
            Maps (r,) source nodes and (r,) edge numbers to (r, h) messages; zero for sentinels.

        Returns
        -------
        total : (n, h)
        """
        # Strategy: add column by column: the peak is a few (r, h) arrays, never (r, K, h).
        rows = message(self.nbr[:, 0], self.slot[:, 0])
        for k in range(1, self.nbr.shape[1]):
            rows = rows + message(self.nbr[:, k], self.slot[:, k])
        surplus = with_row(rows, 0.0)[self.hub].sum(1)
        n_regions = self.hub_of_node.shape[0]
        return rows[:n_regions] + with_row(surplus, 0.0).index_select(0, self.hub_of_node)


def with_row(rows: Tensor, value: float) -> Tensor:
    """Append to (n, h) `rows` the row that a sentinel points to."""
    return torch.cat([rows, rows.new_full((1, rows.shape[1]), value)])
