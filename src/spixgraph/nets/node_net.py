"""What every network on region graphs has in common."""

from abc import abstractmethod

from torch import Tensor, nn

from spixgraph.nets.table import Table


class NodeNet(nn.Module):
    """A node classifier in two forms with the same weights.

    `forward` is for training: edges as a list, aggregation by scatter. `forward_table` is for
    export: edges as a padded table (`spixgraph.graph.neighbour_table`), aggregation by gathers,
    since onnxruntime's ScatterND with reduction gives wrong rows on several threads.

    Parameters
    ----------
    n_features, n_edge_features, n_classes : int
        Columns of `x` and `edge_attr`, and of the logits.
    """

    def __init__(self, *, n_features: int, n_edge_features: int, n_classes: int) -> None:
        super().__init__()
        self.n_features = n_features
        self.n_edge_features = n_edge_features
        self.n_classes = n_classes

    @abstractmethod
    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        """Map a graph to logits.

        Parameters
        ----------
        x : (n, F) float32
            Standardised node features.
        edge_index : (2, E) int64
            (source, target), any order.
        edge_attr : (E, D) float32
            Standardised edge features.

        Returns
        -------
        logits : (n, n_classes) float32
        """

    def forward_table(
        self,
        x: Tensor,
        edge_attr: Tensor,
        nbr: Tensor,
        slot: Tensor,
        owner: Tensor,
        hub: Tensor,
        hub_of_node: Tensor,
        degree: Tensor,
    ) -> Tensor:
        """Map a graph to the logits of `forward`, without scatter.

        The arrays after `edge_attr` are those of `NeighbourTable`.
        """
        return self.table_logits(x, edge_attr, Table(nbr, slot, owner, hub, hub_of_node, degree))

    @abstractmethod
    def table_logits(self, x: Tensor, edge_attr: Tensor, table: Table) -> Tensor:
        """`forward_table` with the arrays of the table in one."""
