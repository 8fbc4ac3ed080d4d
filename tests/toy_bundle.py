"""A model bundle without training: a small network of known weights, so that tests need no torch.

The network is ``x @ w + b`` plus a tenth of the mean of the neighbours' values, so that a wrong
neighbour table shows.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from spixgraph.arrays import Float32, Float64, Int64
from spixgraph.config.recipe import BasinParams, GraphRecipe, PaperParams, SlicParams
from spixgraph.files import sha256_file, write_json
from spixgraph.graph.scaling import Scaling, fit_scaling
from spixgraph.io.images import ArraySource, ImageSource
from spixgraph.predict.image_graph import graph_of_image

TABLE = ("nbr", "slot", "owner", "hub", "hub_of_node", "degree")
CLASSES = [
    {"id": 0, "name": "background", "colour": "#000000"},
    {"id": 1, "name": "cell", "colour": "#ffb000"},
]
RECIPE = GraphRecipe(
    superpixels=SlicParams(nodes_per_megapixel=20_000.0, sigma_px=0.0), graph=PaperParams()
)
BASINS = GraphRecipe(superpixels=BasinParams(nodes_per_megapixel=4000.0))
"""A recipe that streams."""


def blob_image(size: int = 48, *, seed: int = 0, channels: int = 1) -> ArraySource:
    """Bright discs on a noisy ground, (1, size, size, channels) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    image = rng.normal(60, 6, (size, size, channels))
    for cy, cx in rng.integers(size // 6, size - size // 6, (4, 2)):
        image[(y - cy) ** 2 + (x - cx) ** 2 < (size // 8) ** 2] += 90
    return ArraySource(image.clip(0, 255).astype(np.uint8)[None], (1.0, 0.5, 0.5))


def weights(n_features: int, n_classes: int = 2, *, seed: int = 0) -> tuple[Float32, Float32]:
    """Draw w (F, K) and b (K,)."""
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(n_features, n_classes)).astype(np.float32)
    return w, rng.normal(size=n_classes).astype(np.float32)


def slow_logits(x: Float32, edge_index: Int64, *, seed: int = 0) -> Float64:
    """The obvious twin of the network."""
    w, b = weights(x.shape[1], seed=seed)
    own = x.astype(np.float64) @ w + b
    out = own.copy()
    for node in range(len(x)):
        incoming = edge_index[0][edge_index[1] == node]
        if len(incoming):
            out[node] += 0.1 * own[incoming].mean(0)
    return out


def write_toy_bundle(
    path: Path,
    *,
    source: ImageSource | None = None,
    recipe: GraphRecipe = RECIPE,
    seed: int = 0,
    decoder: Sequence[str] = (),
    n_hidden: int = 0,
    **card: Any,
) -> Path:
    """Write a bundle whose features and scaling are those of `source`; `card` replaces fields.

    `decoder` names the columns of a pixel; they are scaled by mean 0.1 and scale 0.5. `n_hidden`
    values are made of them by random weights.
    """
    source = source or blob_image()
    _, graph = graph_of_image(source, recipe)
    path.mkdir(parents=True)
    (path / "LICENSE").write_text("public domain\n")
    widths = (graph.x.shape[1], graph.edge_attr.shape[1])
    n_weights = len(decoder) + n_hidden
    write_toy_onnx(path / "model.onnx", *widths, seed=seed, n_pixel_columns=n_weights)
    if n_hidden:
        layer = np.random.default_rng(seed).normal(0, 0.1, (n_hidden, len(decoder) + 1))
        np.save(path / "pixel_layer.npy", (layer / n_weights).astype(np.float32))
    z, _, _, n_channels = source.info.shape_zyxc
    value = {
        "schema_version": 1,
        "name": "spixgraph-toy",
        "network": "gnn",
        "n_parameters": 2 * graph.x.shape[1] + 2,
        "n_layers": 1,
        "recipe": recipe.model_dump(mode="json"),
        "n_dims": 2 if z == 1 else 3,
        "n_channels": n_channels,
        "node_features": _columns(fit_scaling([graph.x], graph.feature_names)),
        "edge_features": _columns(fit_scaling([graph.edge_attr], graph.edge_feature_names)),
        "decoder": {
            "columns": [{"name": n, "mean": 0.1, "scale": 0.5} for n in decoder],
            "n_hidden": n_hidden,
        }
        if decoder
        else None,
        "classes": CLASSES,
        "pixel_size_um_range": [0.4, 0.6],
        "metrics": {"macro_iou": 0.8, "accuracy": 0.9},
        "memory": {"base_bytes": 50_000_000, "bytes_per_pixel": 150.0},
        "data_sha256": "d" * 64,
        "code_sha256": "c" * 64,
        "parts_sha256": {part.name: sha256_file(part) for part in sorted(path.iterdir())},
    }
    write_json(path / "card.json", value | card)
    return path


def write_toy_onnx(
    path: Path,
    n_features: int,
    n_edge_features: int,
    *,
    seed: int = 0,
    inputs: Sequence[str] = (),
    n_pixel_columns: int = 0,
) -> None:
    """Write the network; `inputs` adds names that no region graph has.

    With pixel columns it gives weights, too: a tenth of the logits, times 1 for the first column, 2
    for the second, and so on, the sign turned for the second class.
    """
    w, b = weights(n_features, seed=seed)
    names = {"w": w, "b": b, "zero": np.zeros((1, 2), np.float32), "tenth": np.float32(0.1)}
    names |= {"first": np.zeros(1, np.int64), "axis0": np.zeros(1, np.int64)}
    names |= {"axis1": np.ones(1, np.int64)}
    node = helper.make_node
    nodes = [
        node("Gemm", ["x", "w", "b"], ["own"]),
        node("Concat", ["own", "zero"], ["padded"], axis=0),
        node("Gather", ["padded", "nbr"], ["messages"]),
        node("ReduceSum", ["messages", "axis1"], ["row_sum"], keepdims=0),
        node("Concat", ["row_sum", "zero"], ["rows"], axis=0),
        node("Gather", ["rows", "hub"], ["surplus"]),
        node("ReduceSum", ["surplus", "axis1"], ["hub_sum"], keepdims=0),
        node("Concat", ["hub_sum", "zero"], ["hubs"], axis=0),
        node("Gather", ["hubs", "hub_of_node"], ["extra"]),
        node("Shape", ["degree"], ["n"]),
        node("Slice", ["row_sum", "first", "n", "axis0"], ["near"]),
        node("Add", ["near", "extra"], ["total"]),
        node("Unsqueeze", ["degree", "axis1"], ["column"]),
        node("Div", ["total", "column"], ["mean"]),
        node("Mul", ["mean", "tenth"], ["small"]),
        node("Add", ["own", "small"], ["logits"]),
    ]
    shapes = {
        "x": ("n", n_features),
        "edge_attr": ("E", n_edge_features),
        "nbr": ("r", 8),
        "slot": ("r", 8),
        "owner": ("r",),
        "hub": ("h", "J"),
        "hub_of_node": ("n",),
        "degree": ("n",),
    } | dict.fromkeys(inputs, ("n",))
    ints = {"nbr", "slot", "owner", "hub", "hub_of_node"}
    graph = helper.make_graph(
        nodes,
        "toy",
        [
            helper.make_tensor_value_info(
                name, TensorProto.INT64 if name in ints else TensorProto.FLOAT, shape
            )
            for name, shape in shapes.items()
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("n", 2))],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in names.items()],
    )
    if n_pixel_columns:
        _add_pixel_weights(graph, n_pixel_columns)
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), path)


def slow_pixel_weights(logits: Float32, n_columns: int) -> Float32:
    """The obvious twin of the weights."""
    steps = np.arange(1, n_columns + 1) * np.array([[0.1], [-0.1]])
    return (logits[:, :, None] * steps).astype(np.float32)


def _add_pixel_weights(graph: onnx.GraphProto, n_columns: int) -> None:
    steps = (np.arange(1, n_columns + 1) * np.array([[0.1], [-0.1]])).astype(np.float32)
    graph.initializer.append(numpy_helper.from_array(steps[None], "steps"))
    graph.initializer.append(numpy_helper.from_array(np.array([2], np.int64), "axis2"))
    graph.node.append(helper.make_node("Unsqueeze", ["logits", "axis2"], ["tall"]))
    graph.node.append(helper.make_node("Mul", ["tall", "steps"], ["pixel_weights"]))
    shape = ("n", 2, n_columns)
    value = helper.make_tensor_value_info("pixel_weights", TensorProto.FLOAT, shape)
    graph.output.append(value)


def _columns(scaling: Scaling) -> list[dict[str, Any]]:
    rows = zip(scaling.names, scaling.mean.tolist(), scaling.scale.tolist(), strict=True)
    return [{"name": name, "mean": mean, "scale": scale} for name, mean, scale in rows]
