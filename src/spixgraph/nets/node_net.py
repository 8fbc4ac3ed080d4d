"""What every network on region graphs has in common."""

import torch
from torch import Tensor, nn

from spixgraph.nets.decoder import PixelDecoder
from spixgraph.nets.table import Table


class NodeNet(nn.Module):
    """A node classifier in two forms with the same weights.

    `forward` is for training: edges as a list, aggregation by scatter. `forward_table` is for
    export: edges as a padded table (`spixgraph.graph.neighbour_table`), aggregation by gathers,
    since onnxruntime's ScatterND with reduction gives wrong rows on several threads.

    A network of a kind is what `embed` and `table_embed` do, and the `head` that makes logits of
    it; a committee asks others instead.

    Parameters
    ----------
    n_features, n_edge_features, n_classes : int
        Columns of `x` and `edge_attr`, and of the logits.
    hidden : int
        Columns of what `embed` returns.
    n_pixel_columns : int
        Columns of a pixel that the decoder sees; 0 for a network without a decoder.
    n_pixel_hidden : int
        Hidden values that it makes of them; see `PixelDecoder`.
    table_width : int
        Neighbours per row of the table that the exported network reads.
    """

    head: nn.Module
    """Maps (n, hidden) to logits; set by each network."""

    def __init__(
        self,
        *,
        n_features: int,
        n_edge_features: int,
        n_classes: int,
        hidden: int,
        n_pixel_columns: int,
        n_pixel_hidden: int,
        table_width: int,
    ) -> None:
        super().__init__()
        self.n_features = n_features
        self.n_edge_features = n_edge_features
        self.n_classes = n_classes
        self.n_pixel_columns = n_pixel_columns
        self.table_width = table_width
        self.decoder = (
            PixelDecoder(
                hidden=hidden,
                n_classes=n_classes,
                n_columns=n_pixel_columns,
                n_hidden=n_pixel_hidden,
            )
            if n_pixel_columns
            else None
        )

    @property
    def members(self) -> "tuple[NodeNet, ...]":
        """Networks that are trained each on its own; this one alone, but for a committee."""
        return (self,)

    @property
    def pixel_layer(self) -> Tensor | None:
        """The layer of the hidden values of a pixel, (H, P + 1) with the biases last, if any."""
        if self.decoder is None or self.decoder.layer is None:
            return None
        return torch.cat([self.decoder.layer.weight, self.decoder.layer.bias[:, None]], dim=1)

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
        logits: Tensor = self.head(self.embed(x, edge_index, edge_attr))
        return logits

    def outputs(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> tuple[Tensor, ...]:
        """Map a graph to its logits and, with a decoder, to (n, n_classes, P + H) pixel weights."""
        return self._outputs(self.embed(x, edge_index, edge_attr))

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
    ) -> tuple[Tensor, ...]:
        """Map a graph to what `outputs` gives, without scatter.

        The arrays after `edge_attr` are those of `NeighbourTable`.
        """
        return self.table_outputs(
            x, Table.of(edge_attr, nbr, slot, owner, hub, hub_of_node, degree)
        )

    def table_outputs(self, x: Tensor, table: Table) -> tuple[Tensor, ...]:
        """Map a graph to what `outputs` gives, by gathers."""
        return self._outputs(self.table_embed(x, table))

    def embed(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        """Map a graph to (n, hidden), by scatter."""
        raise NotImplementedError  # not abstract: a committee has members that do it

    def table_embed(self, x: Tensor, table: Table) -> Tensor:
        """Map a graph to (n, hidden), by gathers."""
        raise NotImplementedError  # see `embed`

    def _outputs(self, hidden: Tensor) -> tuple[Tensor, ...]:
        if self.decoder is None:
            return (self.head(hidden),)
        return self.head(hidden), self.decoder(hidden)
