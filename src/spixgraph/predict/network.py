"""The network over a graph of any size, part by part."""

from collections.abc import Callable

import numpy as np

from spixgraph.arrays import Float32
from spixgraph.errors import StoredDataError
from spixgraph.graph.image_scaling import TableSums
from spixgraph.graph.partitions import EdgesByTarget, Partition, partitions, take_rows
from spixgraph.graph.scaling import Scaling
from spixgraph.predict.model import NodeModel, PixelPredictor
from spixgraph.predict.tables import GraphTables, Rows

PART_NODES = 65_536
"""Most nodes at once where memory allows. Fewer change the logits by a rounding of float32."""
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
    max_nodes: int = PART_NODES,
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
        Gets (n, K, P) float32; only for a model with a decoder.
    max_nodes : int
        Most nodes at once, see `graph.partitions.partitions`. A model that does not say how many
        layers it has, or a graph without blocks, is run in one part.
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
    n_layers, n_nodes = model.n_layers, max_nodes
    if n_layers is None or len(tables.blocks.first) == 2:
        n_layers, n_nodes = 1, tables.n_regions
    parts = partitions(
        EdgesByTarget(tables.edge_index), tables.blocks, n_layers=n_layers, max_nodes=n_nodes
    )
    for part in parts:
        found = _run_part(tables, model, part)
        logits[part.core_ids] = found[0][part.core]
        if weights is not None:
            weights[part.core_ids] = found[1][part.core]
        progress(len(part.core))


def _run_part(tables: GraphTables, model: NodeModel, part: Partition) -> tuple[Float32, Float32]:
    """Return logits and weights of all nodes of a part; the halo's are not those of the whole."""
    x = model.node_scaling.apply(take_rows(tables.x, part.nodes))
    attr = model.edge_scaling.apply(take_rows(tables.edge_attr, part.edge_rows))
    n, n_classes = len(part.nodes), len(model.class_ids)
    n_columns = 0 if model.pixel_scaling is None else len(model.pixel_scaling.names)
    weights = np.empty((n, n_classes, 0), np.float32)
    if model.pixel_scaling is None:
        logits = model.predictor(x, part.edge_index, attr)
    elif isinstance(model.predictor, PixelPredictor):
        logits, weights = model.predictor.with_weights(x, part.edge_index, attr)
    else:
        raise StoredDataError("the card has a pixel decoder, the network has none; export it again")
    _require_output("logits", logits, (n, n_classes))
    _require_output("pixel weights", weights, (n, n_classes, n_columns))
    return logits, weights


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
