"""A network that sees each superpixel alone: the baseline that shows what the graph is worth."""

from torch import Tensor, nn

from spixgraph.nets.node_net import NodeNet
from spixgraph.nets.table import Table


class Mlp(NodeNet):
    """Encoder, `layers` residual blocks and a linear head; edges are ignored.

    With `layers=0` it is the GNN without its message passing. Shapes as in `NodeNet`.
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
        self.head = nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, n_classes))

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        """Node features in, logits out."""
        return self._logits(x)

    def table_logits(self, x: Tensor, edge_attr: Tensor, table: Table) -> Tensor:
        """Node features in, logits out."""
        return self._logits(x)

    def _logits(self, x: Tensor) -> Tensor:
        x = self.encoder(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)
