"""Node networks as ONNX, by one exporter without fallback.

The scatter-free form is exported (`NodeNet.forward_table`), because onnxruntime's ScatterND with
reduction gives wrong rows on several threads (onnxruntime issues 18048 and 23396).
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim

from spixgraph.files import atomic_path
from spixgraph.graph.neighbour_table import neighbour_table
from spixgraph.nets.cnn import PixelUNet
from spixgraph.nets.node_net import NodeNet
from spixgraph.predict.context import MULTIPLE

_DIMS: dict[str, tuple[str, ...]] = {
    "x": ("n",),
    "edge_attr": ("E",),
    "nbr": ("r",),
    "slot": ("r",),
    "owner": ("r",),
    "hub": ("h", "J"),
    "hub_of_node": ("n",),
    "degree": ("n",),
}
"""Inputs in order, and the names of their leading axes that may have any length."""
_OUTPUTS = ("logits", "pixel_weights")


class _TableForm(nn.Module):
    """`forward_table` under the name that the exporter calls."""

    def __init__(self, net: NodeNet) -> None:
        super().__init__()
        self.net = net

    def forward(
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
        return self.net.forward_table(x, edge_attr, nbr, slot, owner, hub, hub_of_node, degree)


def export_onnx(net: NodeNet, path: Path) -> None:
    """Write `net` as ONNX; same weights, same bytes, whatever the folder and the process.

    Inputs are ``x (n, F)``, ``edge_attr (E, D)`` and the arrays of `NeighbourTable`, as wide as
    `net.table_width`; outputs are ``logits (n, n_classes)`` and, with a pixel decoder,
    ``pixel_weights (n, n_classes, P + H)``. The number of nodes, edges, rows and hubs is free.

    Parameters
    ----------
    net : NodeNet
        On the CPU, in float32. It is exported in evaluation mode and keeps its own.
    path : Path
        Where the file appears, whole or not at all.
    """
    was_training = net.training
    inputs = _example(net)
    with _quiet():
        program: Any = torch.onnx.export(
            _TableForm(net).eval(),
            tuple(inputs.values()),
            dynamo=True,
            verbose=False,
            input_names=list(inputs),
            output_names=list(_OUTPUTS[: 1 + (net.n_pixel_columns > 0)]),
            dynamic_shapes=_dynamic_shapes(),
        )
    net.train(was_training)
    model = _without_traces(program.model_proto)
    for output in model.graph.output:
        output.type.tensor_type.shape.dim[0].dim_param = "n"
    _write(model, path)


def _write(model: onnx.ModelProto, path: Path) -> None:
    onnx.checker.check_model(model, full_check=True)
    with atomic_path(path) as part:
        part.write_bytes(model.SerializeToString(deterministic=True))


class _LogitsOfCells(nn.Module):
    """The U-Net of the overview under names of its own."""

    def __init__(self, net: PixelUNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, cells: Tensor) -> Tensor:
        return self.net(cells)


def export_context(net: PixelUNet, path: Path, *, n_channels: int) -> None:
    """Write the network of the overview as ONNX; same weights, same bytes.

    Its input is ``cells (1, C, rows, columns)``, rows and columns multiples of
    `spixgraph.predict.context.MULTIPLE`; its output ``logits (1, K, rows, columns)``.

    Parameters
    ----------
    net : PixelUNet
        2D, on the CPU; is set to evaluation mode.
    path : Path
        Where the file appears, whole or not at all.
    n_channels : int
    """
    cells = torch.zeros(1, n_channels, 4 * MULTIPLE, 5 * MULTIPLE)
    rows, columns = (MULTIPLE * Dim(name, min=2) for name in ("rows", "columns"))
    with _quiet():
        program: Any = torch.onnx.export(
            _LogitsOfCells(net).eval(),
            (cells,),
            dynamo=True,
            verbose=False,
            input_names=["cells"],
            output_names=["logits"],
            dynamic_shapes={"cells": {2: rows, 3: columns}},
        )
    _write(_without_traces(program.model_proto), path)


def _example(net: NodeNet) -> dict[str, Tensor]:
    """Make a graph whose free axes are longer than 1: the exporter takes 0 and 1 as fixed."""
    hubs = np.repeat([0, 1], 30)  # more than a row holds
    edge_index = np.stack([np.arange(60) % 7, hubs]).astype(np.int64)
    arrays = neighbour_table(edge_index, 7, width=net.table_width).as_inputs()
    table = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return {
        "x": torch.zeros(7, net.n_features),
        "edge_attr": torch.zeros(60, net.n_edge_features),
    } | table


def _dynamic_shapes() -> dict[str, dict[int, Dim]]:
    dims = {name: Dim(name) for name in ("n", "E", "r", "h", "J")}
    return {key: {i: dims[n] for i, n in enumerate(names)} for key, names in _DIMS.items()}


def _without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop what the exporter notes about its own run: source paths, stack traces, versions."""
    graph = model.graph
    model.ClearField("metadata_props")
    model.ClearField("producer_version")
    graph.ClearField("metadata_props")
    graph.ClearField("value_info")
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the exporter says about itself and about torchvision, which we don't use."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # torch 2.13 calls its own deprecated isinstance check
            warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*", FutureWarning)
            # two axes of one length share a name on purpose
            warnings.filterwarnings("ignore", ".*axis name: .* will not be used", UserWarning)
            yield
    finally:
        logger.setLevel(level)
