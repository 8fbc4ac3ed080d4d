"""Several networks as one: the mean of what they say."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from spixgraph.nets.node_net import NodeNet


class Committee(NodeNet):
    """Networks of one form with weights of their own; their logits and pixel weights are averaged.

    A pixel decoder is linear in its weights, so the mean of the weights is that of the decoded
    pixels, and one network is exported that costs the pixels nothing. Idea: deep ensembles
    (arXiv:1612.01474).

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
            table_width=first.table_width,
        )
        self.n_pixel_columns = first.n_pixel_columns
        self.nets = nn.ModuleList(nets)

    @property
    def members(self) -> tuple[NodeNet, ...]:
        """Those who are asked."""
        return tuple(net for net in self.nets if isinstance(net, NodeNet))

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        """See `NodeNet.forward`."""
        return self.outputs(x, edge_index, edge_attr)[0]

    def outputs(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> tuple[Tensor, ...]:
        """See `NodeNet.outputs`."""
        return self._mean(lambda net: net.outputs(x, edge_index, edge_attr))

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
        """See `NodeNet.forward_table`."""
        table = (nbr, slot, owner, hub, hub_of_node, degree)
        return self._mean(lambda net: net.forward_table(x, edge_attr, *table))

    def _mean(self, ask: Callable[[NodeNet], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        answers = [ask(net) for net in self.members]
        return tuple(torch.stack(parts).mean(0) for parts in zip(*answers, strict=True))
