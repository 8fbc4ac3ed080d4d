"""Networks by name, so that a name in a settings file or a checkpoint finds its class."""

from collections.abc import Callable
from typing import Literal

from torch import nn

from spixgraph.errors import InputError
from spixgraph.nets.committee import Committee
from spixgraph.nets.node_net import NodeNet

NodeNetKind = Literal["gnn", "mlp", "paper"]


def build_node_net(
    kind: str,
    *,
    n_features: int,
    n_edge_features: int,
    n_classes: int,
    hidden: int,
    layers: int,
    dropout: float,
    n_pixel_columns: int = 0,
    n_pixel_hidden: int = 0,
    table_width: int = 8,
    members: int = 1,
) -> NodeNet:
    """Build the node network `kind` with fresh weights from torch's generator.

    Parameters
    ----------
    kind : {"gnn", "mlp", "paper"}
    n_features, n_edge_features, n_classes : int
        Columns of the node features, the edge features and the logits.
    hidden : int
        Width.
    layers : int
        Message passing layers; residual blocks of the MLP.
    dropout : float
        0..1, in training only.
    n_pixel_columns : int
        Columns of a pixel that the decoder sees; 0 for a network without a decoder.
    n_pixel_hidden : int
        Hidden values that it makes of them; see `PixelDecoder`.
    table_width : int
        Neighbours per row of the table that the exported network reads.
    members : int
        Networks whose answers are averaged.

    Raises
    ------
    InputError
        If `kind` is unknown or a size is out of range.
    """
    sizes = {
        "n_features": n_features,
        "n_classes": n_classes,
        "hidden": hidden,
        "table_width": table_width,
        "members": members,
    }
    others = {
        "layers": layers,
        "n_edge_features": n_edge_features,
        "n_pixel_columns": n_pixel_columns,
        "n_pixel_hidden": n_pixel_hidden,
    }
    if min(sizes.values()) < 1 or min(others.values()) < 0 or not 0 <= dropout < 1:
        raise InputError(
            "sizes must be >= 1, layers and numbers of columns >= 0 and dropout in 0..1, "
            f"got {sizes}, {others}, dropout={dropout}"
        )
    nets = [
        _node_net_class(kind)(
            n_features=n_features,
            n_edge_features=n_edge_features,
            n_classes=n_classes,
            hidden=hidden,
            layers=layers,
            dropout=dropout,
            n_pixel_columns=n_pixel_columns,
            n_pixel_hidden=n_pixel_hidden,
            table_width=table_width,
        )
        for _ in range(members)
    ]
    return nets[0] if members == 1 else Committee(nets)


def _node_net_class(kind: str) -> Callable[..., NodeNet]:
    """Import the class late: torch_geometric takes seconds."""
    match kind:
        case "gnn":
            from spixgraph.nets.gnn import Gnn

            return Gnn
        case "mlp":
            from spixgraph.nets.mlp import Mlp

            return Mlp
        case "paper":
            from spixgraph.nets.paper import PaperNet

            return PaperNet
    raise InputError(f"node network must be gnn, mlp or paper, got {kind!r}")


def n_parameters(net: nn.Module) -> int:
    """Count the trained numbers of a network."""
    return sum(p.numel() for p in net.parameters())
