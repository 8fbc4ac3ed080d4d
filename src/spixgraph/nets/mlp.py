"""A network that sees each superpixel alone: the baseline that shows what the graph is worth."""

from torch import Tensor, nn

from spixgraph.nets.node_net import NodeNet
from spixgraph.nets.table import Table


class Mlp(NodeNet):
    """Encoder, `layers` residual blocks and a linear head; edges are ignored.

    With `layers=0` it is the GNN without its message passing, pixel decoder included. Shapes as in
    `NodeNet`.
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
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(hidden),
                nn.Linear(hidden, hidden),
                nn.ReLU(),
                nn.Dropout(dropout),
                nn.Linear(hidden, hidden),
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(hidden)
        self.head = nn.Linear(hidden, n_classes)

    def embed(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        """Node features in, hidden columns out."""
        return self._embed(x)

    def table_embed(self, x: Tensor, table: Table) -> Tensor:
        """Node features in, hidden columns out."""
        return self._embed(x)

    def _embed(self, x: Tensor) -> Tensor:
        x = self.encoder(x)
        for block in self.blocks:
            x = x + block(x)
        return self.norm(x)
