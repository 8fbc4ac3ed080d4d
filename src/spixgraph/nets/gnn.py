"""The default network: residual message passing with edge features."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, addmm, nn
from torch.nn.functional import linear, relu

from spixgraph.nets.messages import Edges, message_sums
from spixgraph.nets.node_net import NodeNet
from spixgraph.nets.table import Table, with_row

_SILENT = -1e30  # of a sentinel's source; the ReLU of its message is exactly 0


class EdgeMeanConv(nn.Module):
    """One residual layer; the mean over neighbours of a message that knows both ends and the edge.

    With z = LayerNorm(x)::

        message(j -> i) = relu(A z_j + B z_i + W e_ji)
        x_i' = x_i + MLP([z_i, mean of the messages to i])

    A simplified form of MPNN (arXiv:1704.01212) with pre-normalisation. One hidden layer less per
    message, and messages half as wide as nodes, keep the memory and the time per edge small: the
    graph has six times as many edges as nodes. The last layer of the MLP starts at zero, so that an
    untrained stack is the network without messages, and depth is learned (arXiv:2003.04887).

    Shapes
    ------
    x : (n, hidden) float32
    edges : Edges, with (E, n_edge_features) float32 columns
    returns : (n, hidden) float32
    """

    def __init__(self, *, hidden: int, n_edge_features: int, dropout: float) -> None:
        super().__init__()
        width = max(1, hidden // 2)
        self.norm = nn.LayerNorm(hidden)
        self.source = nn.Linear(hidden, width)
        self.target = nn.Linear(hidden, width, bias=False)
        self.edge = nn.Linear(n_edge_features, width, bias=False)
        last = nn.Linear(hidden, hidden)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.join = nn.Linear(hidden + width, hidden)
        self.update = nn.Sequential(nn.ReLU(), nn.Dropout(dropout), last)

    def forward(self, x: Tensor, edges: Edges, degree: Tensor) -> Tensor:
        """Form for training; `degree` is that of `edges`."""
        z = self.norm(x)
        # one product for both ends: z and its gradient are walked once
        weight = torch.cat([self.source.weight, self.target.weight])
        bias = torch.cat([self.source.bias, torch.zeros_like(self.source.bias)])
        total = message_sums(linear(z, weight, bias), self.edge.weight, edges)
        return x + self.update(self.join(torch.cat([z, total / degree], dim=1)))

    def forward_table(self, x: Tensor, table: Table) -> Tensor:
        """Gather form.

        Terms are added inside of products (`addmm`), which saves a tenth of the time.
        """
        z = self.norm(x)
        source = with_row(self.source(z), _SILENT)
        target = self.target(z).index_select(0, table.owner)
        of_edge = self.edge.weight.T

        def message(j: Tensor, edge_attr: Tensor) -> Tensor:
            return relu(addmm(source.index_select(0, j) + target, edge_attr, of_edge))

        mean = table.sum(message) / table.degree[:, None]
        weight, hidden = self.join.weight, z.shape[1]
        of_z = linear(z, weight[:, :hidden], self.join.bias)
        return x + self.update(addmm(of_z, mean, weight[:, hidden:].T))


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
        n_pixel_columns: int,
        n_pixel_hidden: int,
        table_width: int,
    ) -> None:
        super().__init__(
            n_features=n_features,
            n_edge_features=n_edge_features,
            n_classes=n_classes,
            hidden=hidden,
            n_pixel_columns=n_pixel_columns,
            n_pixel_hidden=n_pixel_hidden,
            table_width=table_width,
        )
        self.encoder = nn.Sequential(
            nn.Linear(n_features, hidden), nn.ReLU(), nn.Linear(hidden, hidden)
        )
        self.convs: Iterable[Any] = nn.ModuleList(
            EdgeMeanConv(hidden=hidden, n_edge_features=n_edge_features, dropout=dropout)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(hidden)
        self.head = nn.Linear(hidden, n_classes)

    def embed(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        """Form for training."""
        edges = Edges.of(edge_index, edge_attr, len(x))
        x, degree = self.encoder(x), edges.degree()
        for conv in self.convs:
            x = conv(x, edges, degree)
        return self.norm(x)

    def table_embed(self, x: Tensor, table: Table) -> Tensor:
        """Gather form."""
        x = self.encoder(x)
        for conv in self.convs:
            x = conv.forward_table(x, table)
        return self.norm(x)
