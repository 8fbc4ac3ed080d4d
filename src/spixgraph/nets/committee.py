"""Several networks as one: the mean of what they say."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from spixgraph.nets.node_net import NodeNet
from spixgraph.nets.table import Table


class Committee(NodeNet):
    """Networks of one form with weights of their own; their logits and pixel weights are averaged.

    A pixel decoder is linear in its weights, so the mean of the weights is that of the decoded
    pixels, and one network is exported. Hidden values of a pixel, which each network has of its
    own, stand side by side. Idea: deep ensembles (arXiv:1612.01474).

    Parameters
    ----------
    nets : sequence of NodeNet
    """

    def __init__(self, nets: Sequence[NodeNet]) -> None:
        first = nets[0]
        super().__init__(
            n_features=first.n_features,
            n_edge_features=first.n_edge_features,
            n_classes=first.n_classes,
            hidden=0,
            n_pixel_columns=0,  # no decoder of its own
            n_pixel_hidden=0,
            table_width=first.table_width,
        )
        self.n_pixel_columns = first.n_pixel_columns
        self.nets = nn.ModuleList(nets)

    @property
    def members(self) -> tuple[NodeNet, ...]:
        """Those who are asked."""
        return tuple(net for net in self.nets if isinstance(net, NodeNet))

    @property
    def pixel_layer(self) -> Tensor | None:
        """Those of the members, one below the other."""
        layers = [layer for net in self.members if (layer := net.pixel_layer) is not None]
        return torch.cat(layers) if layers else None

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        """See `NodeNet.forward`."""
        return self.outputs(x, edge_index, edge_attr)[0]

    def outputs(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> tuple[Tensor, ...]:
        """See `NodeNet.outputs`."""
        return self._mean(lambda net: net.outputs(x, edge_index, edge_attr))

    def table_outputs(self, x: Tensor, table: Table) -> tuple[Tensor, ...]:
        """See `NodeNet.table_outputs`."""
        return self._mean(lambda net: net.table_outputs(x, table))

    def _mean(self, ask: Callable[[NodeNet], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        answers = [ask(net) for net in self.members]
        logits, *weights = (torch.stack(parts) for parts in zip(*answers, strict=True))
        return logits.mean(0), *map(self._joined, weights)

    def _joined(self, weights: Tensor) -> Tensor:
        """Join (members, n, K, P + H) pixel weights; a mean for the columns that members share."""
        mean = weights[..., : self.n_pixel_columns].mean(0)
        if self.pixel_layer is None:
            return mean
        hidden = weights[..., self.n_pixel_columns :] / len(weights)
        return torch.cat([mean, hidden.permute(1, 2, 0, 3).flatten(2)], dim=2)
