"""The default network: residual message passing with edge features."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from torch_geometric.nn import MessagePassing

from spixgraph.nets.node_net import NodeNet
from spixgraph.nets.table import Table, with_row

_SILENT = -1e30  # of a sentinel's source; the ReLU of its message is exactly 0


class EdgeMeanConv(MessagePassing):
    """One residual layer; the mean over neighbours of a message that knows both ends and the edge.

    With z = LayerNorm(x)::

        message(j -> i) = relu(A z_j + B z_i + W e_ji)
        x_i' = x_i + MLP([z_i, mean of the messages to i])

    A simplified form of MPNN (arXiv:1704.01212) with pre-normalisation; one hidden layer less per
    message keeps the memory per edge at one row.

    Shapes
    ------
    x : (n, hidden) float32
    edge_index : (2, E) int64
    edge_attr : (E, n_edge_features) float32
    returns : (n, hidden) float32
    """

    def __init__(self, *, hidden: int, n_edge_features: int, dropout: float) -> None:
        super().__init__(aggr="mean")
        self.norm = nn.LayerNorm(hidden)
        self.source = nn.Linear(hidden, hidden)
        self.target = nn.Linear(hidden, hidden, bias=False)
        self.edge = nn.Linear(n_edge_features, hidden, bias=False)
        self.update_mlp = nn.Sequential(
            nn.Linear(2 * hidden, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, hidden)
        )

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        """Scatter form."""
        z = self.norm(x)
        mean = self.propagate(
            edge_index, source=self.source(z), target=self.target(z), edge=self.edge(edge_attr)
        )
        return x + self.update_mlp(torch.cat([z, mean], dim=1))

    def message(self, source_j: Tensor, target_i: Tensor, edge: Tensor) -> Tensor:
        """One row per edge."""
        return relu(source_j + target_i + edge)

    def forward_table(self, x: Tensor, edge_attr: Tensor, table: Table) -> Tensor:
        """Gather form; `edge_attr` already has its sentinel row."""
        z = self.norm(x)
        source = with_row(self.source(z), _SILENT)
        target = self.target(z).index_select(0, table.owner)

        def message(j: Tensor, e: Tensor) -> Tensor:
            edge = self.edge(edge_attr.index_select(0, e))
            return relu(source.index_select(0, j) + target + edge)

        mean = table.sum(message) / table.degree[:, None]
        return x + self.update_mlp(torch.cat([z, mean], dim=1))


class Gnn(NodeNet):
    """`layers` residual layers between an encoder and a linear head.

    Shapes as in `NodeNet`.
    """

    def __init__(
        self,
        *,
        n_features: int,
        n_edge_features: int,
        n_classes: int,
        hidden: int,
        layers: int,
        dropout: float,
    ) -> None:
        super().__init__(
            n_features=n_features, n_edge_features=n_edge_features, n_classes=n_classes
        )
        self.encoder = nn.Sequential(
            nn.Linear(n_features, hidden), nn.ReLU(), nn.Linear(hidden, hidden)
        )
        self.convs: Iterable[Any] = nn.ModuleList(
            EdgeMeanConv(hidden=hidden, n_edge_features=n_edge_features, dropout=dropout)
            for _ in range(layers)
        )
        self.head = nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, n_classes))

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        """Scatter form."""
        x = self.encoder(x)
        for conv in self.convs:
            x = conv(x, edge_index, edge_attr)
        return self.head(x)

    def table_logits(self, x: Tensor, edge_attr: Tensor, table: Table) -> Tensor:
        """Gather form."""
        x, edge_attr = self.encoder(x), with_row(edge_attr, 0.0)
        for conv in self.convs:
            x = conv.forward_table(x, edge_attr, table)
        return self.head(x)
