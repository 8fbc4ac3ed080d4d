"""The network over a graph of any size, part by part."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np

from spixgraph.arrays import Float32, Int64
from spixgraph.errors import StoredDataError
from spixgraph.graph.image_scaling import TableSums
from spixgraph.graph.partitions import BlockIds, EdgesByTarget, Partition, partitions, take_rows
from spixgraph.graph.scaling import Scaling
from spixgraph.predict.model import NodeModel, PixelPredictor
from spixgraph.predict.onnx_predictor import OnnxPredictor
from spixgraph.predict.tables import GraphTables, Rows
from spixgraph.threads import ahead

PART_NODES, PART_NODES_3D = 16_384, 65_536
"""Most nodes of a part where memory allows, of one slice and of several.

Fewer change the logits by a rounding of float32. The tables of small parts stay in the caches; but
in three dimensions what lies around a small part is more than the part.
"""
_ROWS = 65_536


def model_of_image(tables: GraphTables, model: NodeModel) -> NodeModel:
    """Return the model with the scalings of the raw columns of the image of a graph."""
    names = tables.feature_names
    if not model.scaled_per_image:
        return model
    require_names("node", names, model.node_scaling)
    sums = TableSums.of(np.empty((0, len(names)), np.float32), names)
    for start in range(0, tables.n_regions, _ROWS):
        sums = sums + TableSums.of(np.asarray(tables.x[start : start + _ROWS]), names)
    return model.at(sums)


def run_network(
    tables: GraphTables,
    model: NodeModel,
    logits: Rows,
    weights: Rows | None = None,
    *,
    max_nodes: int | None = None,
    workers: int = 1,
    progress: Callable[[int], None] = lambda n: None,
) -> None:
    """Run the network on all nodes.

    Parameters
    ----------
    tables : GraphTables
    model : NodeModel
        Of the image, see `model_of_image`.
    logits : Rows
        Gets (n, K) float32.
    weights : Rows, optional
        Gets (n, K, P + H) float32; only for a model with a decoder.
    max_nodes : int, optional
        Most nodes of a part, see `graph.partitions.partitions`; by default `PART_NODES` or
        `PART_NODES_3D`. A model that does not say how many layers it has, or a graph without
        blocks, is run in one part.
    workers : int
        Parts at once, on a CPU; each in one thread.
    progress : callable
        Called with the number of nodes done since the last call.

    Raises
    ------
    StoredDataError
        If this version computes other features than the model was trained on, or the network gives
        something else than the card says.
    """
    require_names("node", tables.feature_names, model.node_scaling)
    require_names("edge", tables.edge_feature_names, model.edge_scaling)
    n_layers, n_nodes = model.n_layers, max_nodes or _part_nodes(tables.blocks)
    if n_layers is None or len(tables.blocks.first) == 2:
        n_layers, n_nodes = 1, tables.n_regions
    parts = partitions(
        EdgesByTarget(tables.edge_index), tables.blocks, n_layers=n_layers, max_nodes=n_nodes
    )
    if tables.n_regions > n_nodes:
        model, workers = _side_by_side(model, workers)
    with ThreadPoolExecutor(workers) as pool:
        for ids, *found in ahead(pool, partial(_run_part, tables, model), parts):
            logits[ids] = found[0]
            if weights is not None:
                weights[ids] = found[1]
            progress(len(ids))


def _part_nodes(blocks: BlockIds) -> int:
    is_flat = blocks.n_blocks_zyx[0] == 1 and blocks.hops_zyx[0] == 1
    return PART_NODES if is_flat else PART_NODES_3D


def _side_by_side(model: NodeModel, workers: int) -> tuple[NodeModel, int]:
    """Return a model for parts in threads of their own, and how many; one where it has none."""
    if not isinstance(model.predictor, OnnxPredictor) or model.predictor.device != "cpu":
        return model, 1
    return replace(model, predictor=model.predictor.for_parts()), workers


def _run_part(
    tables: GraphTables, model: NodeModel, part: Partition
) -> tuple[Int64, Float32, Float32]:
    """Return ids, logits and weights of the core of a part."""
    x = model.node_scaling.apply(take_rows(tables.x, part.nodes))
    attr = model.edge_scaling.apply(take_rows(tables.edge_attr, part.edge_rows))
    n, n_classes = len(part.nodes), len(model.class_ids)
    weights = np.empty((n, n_classes, 0), np.float32)
    if model.pixel_scaling is None:
        logits = model.predictor(x, part.edge_index, attr)
    elif isinstance(model.predictor, PixelPredictor):
        logits, weights = model.predictor.with_weights(x, part.edge_index, attr)
    else:
        raise StoredDataError("the card has a pixel decoder, the network has none; export it again")
    _require_output("logits", logits, (n, n_classes))
    _require_output("pixel weights", weights, (n, n_classes, model.n_pixel_weights))
    return part.core_ids, logits[part.core], weights[part.core]


def _require_output(name: str, values: Float32, wanted: tuple[int, ...]) -> None:
    if values.shape != wanted:
        raise StoredDataError(f"the network gave {name} {values.shape}, the card wants {wanted}")
    if not np.isfinite(values).all():
        raise StoredDataError("the network gave NaN or inf; its weights are broken, train it again")


def require_names(kind: str, names: tuple[str, ...], scaling: Scaling) -> None:
    """Refuse a model that was trained on other columns than this version computes."""
    if tuple(names) != tuple(scaling.names):
        raise StoredDataError(
            f"this version computes {len(names)} {kind} features ({_brief(names)}), the model was "
            f"trained on {len(scaling.names)} ({_brief(scaling.names)}); train it again or install "
            "the version that made it"
        )


def _brief(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
