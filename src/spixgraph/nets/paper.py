"""The network of Jain et al. 2024, doi:10.1093/jmicro/dfad049."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import dropout, leaky_relu
from torch_geometric.nn import GraphConv

from spixgraph.errors import InputError
from spixgraph.nets.node_net import NodeNet
from spixgraph.nets.table import Table, with_row

WEIGHT_COLUMN = 0
"""Column of `edge_attr` that holds the weight of each edge, unscaled."""


class PaperNet(NodeNet):
    """`layers` graph convolutions, the last of which gives the logits.

    Each is ``x_i' = W1 x_i + W2 * sum over j of weight_ji x_j + b`` (arXiv:1810.02244), with leaky
    ReLU and dropout between, as in the released code. Shapes as in `NodeNet`; the weight of an
    edge is the first column of `edge_attr`, and must not be standardised.
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
        if n_pixel_columns:
            raise InputError(
                f"the paper network has no pixel decoder, got n_pixel_columns={n_pixel_columns}; "
                "train it without pixel samples"
            )
        if layers < 1 or n_edge_features < 1:
            raise InputError(
                f"the paper network needs layers >= 1 and an edge weight, got layers={layers} and "
                f"n_edge_features={n_edge_features}; build its graph with kind: paper"
            )
        super().__init__(
            n_features=n_features,
            n_edge_features=n_edge_features,
            n_classes=n_classes,
            hidden=n_classes,
            n_pixel_columns=0,
            n_pixel_hidden=n_pixel_hidden,
            table_width=table_width,
        )
        self.head = nn.Identity()
        widths = [n_features] + [hidden] * (layers - 1) + [n_classes]
        self.convs: Iterable[Any] = nn.ModuleList(
            GraphConv(i, o, aggr="add") for i, o in pairwise(widths)
        )
        self.dropout = dropout

    def embed(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        """Scatter form; the last layer gives the logits."""
        weight = edge_attr[:, WEIGHT_COLUMN]
        for number, conv in enumerate(self.convs):
            x = conv(self._activate(x, number), edge_index, weight)
        return x

    def table_embed(self, x: Tensor, table: Table) -> Tensor:
        """Gather form."""
        for number, conv in enumerate(self.convs):
            x = self._activate(x, number)
            source = with_row(x, 0.0)

            def message(j: Tensor, edge_attr: Tensor, source: Tensor = source) -> Tensor:
                return source.index_select(0, j) * edge_attr[:, WEIGHT_COLUMN, None]

            near = table.sum(message)
            x = conv.lin_rel(near) + conv.lin_root(x)
        return x

    def _activate(self, x: Tensor, number: int) -> Tensor:
        """Apply what stands between convolutions, before all but the first."""
        return x if number == 0 else dropout(leaky_relu(x), self.dropout, self.training)
