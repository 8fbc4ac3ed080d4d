"""Trees on the features of single superpixels: what users of ilastik and QuPath have.

scikit-learn grows them; they are kept as plain arrays, since its own format is pickle.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from spixgraph.arrays import Float32, Float64, Int64
from spixgraph.config.params import BoostingTraining, ForestTraining
from spixgraph.errors import InputError
from spixgraph.evaluate.counts import scores
from spixgraph.files import atomic_path, canonical_json, read_json
from spixgraph.graph.region_graph import RegionGraph
from spixgraph.graph.scaling import Scaling, fit_scaling
from spixgraph.train.node_sample import targets_of

TreeKind = Literal["forest", "boosting"]
_LEAST_LOGIT = -20.0  # of a class that training did not show
_LEAST_PROBABILITY = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """Trees laid one behind the other.

    Attributes
    ----------
    roots : (T,) int64
        First node of each tree.
    left, right : (N,) int64
        Next node where the feature is <= (>) the threshold; -1 at a leaf.
    feature : (N,) int64
    threshold : (N,) float64
    value : (N, K) float64
        What a leaf adds to the outputs.
    start : (K,) float64
        Outputs without a tree.
    """

    roots: Int64
    left: Int64
    right: Int64
    feature: Int64
    threshold: Float64
    value: Float64
    start: Float64

    def outputs(self, x: Float32) -> Float64:
        """Add up the leaves that each row of (n, F) falls into: (n, K)."""
        total = np.repeat(self.start[None], len(x), axis=0)
        for root in self.roots.tolist():
            node = np.full(len(x), root)
            moving = np.flatnonzero(self.left[node] >= 0)
            while len(moving):
                at = node[moving]
                less = x[moving, self.feature[at]] <= self.threshold[at]
                node[moving] = np.where(less, self.left[at], self.right[at])
                moving = moving[self.left[node[moving]] >= 0]
            total += self.value[node]
        return total


@dataclass(frozen=True, slots=True, eq=False)
class TrainedTrees:
    """Trees and how their columns are standardised; a `NodePredictor` without edges.

    Attributes
    ----------
    kind : {"forest", "boosting"}
    trees : Trees
        Outputs are probabilities (forest) or logits (boosting).
    node_scaling, edge_scaling : Scaling
    n_rounds : int
        Trees of a forest, rounds of boosting up to the best on validation.
    """

    kind: TreeKind
    trees: Trees
    node_scaling: Scaling
    edge_scaling: Scaling
    n_rounds: int

    @property
    def n_parameters(self) -> int:
        """Thresholds and leaf values, counted as nodes."""
        return len(self.trees.left)

    def __call__(self, x: Float32, edge_index: Int64, edge_attr: Float32) -> Float32:
        """Map standardised (n, F) float32 to (n, K) float32 logits; edges are not looked at."""
        outputs = self.trees.outputs(x)
        if self.kind == "forest":
            outputs = np.log(np.maximum(outputs, _LEAST_PROBABILITY))
        return outputs.astype(np.float32)


def train_trees(
    kind: TreeKind,
    train: Sequence[RegionGraph],
    val: Sequence[RegionGraph],
    params: ForestTraining | BoostingTraining,
    *,
    seed: int,
) -> TrainedTrees:
    """Grow trees on superpixels, each weighted by its annotated area and class.

    Parameters
    ----------
    kind : {"forest", "boosting"}
    train, val : sequence of RegionGraph
        With targets. Boosting stops growing at the round with the best macro IoU of `val`.
    params : ForestTraining or BoostingTraining
    seed : int
        Of the samples and features that trees draw.

    Raises
    ------
    InputError
        If the training superpixels show fewer than two classes.
    """
    first = train[0]
    nodes = fit_scaling([g.x for g in train], first.feature_names)
    edges = fit_scaling([g.edge_attr for g in train], first.edge_feature_names)
    x, classes, weights = _rows(train, nodes)
    n_classes = targets_of(first)[0].shape[1]
    if len(np.unique(classes)) < 2:
        raise InputError(
            f"the training superpixels show {len(np.unique(classes))} class(es); annotate a "
            "second class in an image of the train split"
        )
    if isinstance(params, ForestTraining):
        trees, n_rounds = _forest(x, classes, weights, n_classes, params, seed), params.trees
    else:
        with threadpool_limits(1, "openmp"):  # threads wait for each other; the trees are the same
            trees, n_rounds = _boosting(
                x, classes, weights, n_classes, params, seed, _rows(val, nodes, balanced=False)
            )
    return TrainedTrees(kind, trees, nodes, edges, n_rounds)


def _rows(
    graphs: Sequence[RegionGraph], nodes: Scaling, *, balanced: bool = True
) -> tuple[Float32, Int64, Float64]:
    """List each superpixel once per class that it holds; weights are pixels, or even by class."""
    xs, ids, areas = [], [], []
    for graph in graphs:
        target, annotated = targets_of(graph)
        area = target * (annotated * graph.n_pixels)[:, None]
        row, class_id = np.nonzero(area)
        xs.append(nodes.apply(graph.x)[row])
        ids.append(class_id)
        areas.append(area[row, class_id].astype(np.float64))
    classes, weights = np.concatenate(ids), np.concatenate(areas)
    if balanced and len(weights):
        per_class = np.bincount(classes, weights)
        weights = weights / np.sqrt(per_class[classes])  # halfway to all classes weighing the same
        weights *= len(weights) / weights.sum()
    return np.concatenate(xs), classes, weights


def _forest(
    x: Float32, classes: Int64, weights: Float64, n_classes: int, params: ForestTraining, seed: int
) -> Trees:
    from sklearn.ensemble import RandomForestClassifier

    grown = RandomForestClassifier(
        params.trees, min_samples_leaf=params.min_leaf, random_state=seed, n_jobs=1
    ).fit(x, classes, sample_weight=weights)
    parts = []
    for estimator in grown.estimators_:
        tree = estimator.tree_
        value = np.zeros((tree.node_count, n_classes))
        value[:, grown.classes_] = tree.value[:, 0] / tree.value[:, 0].sum(1, keepdims=True)
        parts.append(
            (tree.children_left, tree.children_right, tree.feature, tree.threshold,
             value / params.trees)
        )  # fmt: skip
    return _joined(parts, np.zeros(n_classes))


def _boosting(
    x: Float32,
    classes: Int64,
    weights: Float64,
    n_classes: int,
    params: BoostingTraining,
    seed: int,
    val: tuple[Float32, Int64, Float64],
) -> tuple[Trees, int]:
    from sklearn.ensemble import HistGradientBoostingClassifier

    grown = HistGradientBoostingClassifier(
        learning_rate=params.learning_rate, max_iter=params.rounds, max_leaf_nodes=params.leaves,
        early_stopping=False, random_state=seed,
    ).fit(x, classes, sample_weight=weights)  # fmt: skip
    val_x, val_classes, val_weights = val
    best, n_rounds = -1.0, params.rounds
    for number, predicted in enumerate(grown.staged_predict(val_x), start=1):
        cells = np.bincount(val_classes * n_classes + predicted, val_weights, n_classes**2)
        score = scores(np.rint(cells).astype(np.int64).reshape(n_classes, n_classes)).macro_iou
        if score > best:
            best, n_rounds = score, number
    start = np.full(n_classes, _LEAST_LOGIT)
    start[grown.classes_] = 0
    columns = grown.classes_ if len(grown.classes_) > 2 else grown.classes_[1:]
    start[columns] = np.ravel(grown._baseline_prediction)
    parts = []
    for one_round in grown._predictors[:n_rounds]:  # no public way to the trees
        for column, predictor in zip(columns, one_round, strict=True):
            node = predictor.nodes
            leaf = node["is_leaf"].astype(bool)
            value = np.zeros((len(node), n_classes))
            value[leaf, column] = node["value"][leaf]
            left, right = (
                np.where(leaf, -1, node[side].astype(np.int64)) for side in ("left", "right")
            )
            parts.append((left, right, node["feature_idx"], node["num_threshold"], value))
    return _joined(parts, start), n_rounds


def _joined(parts: Sequence[tuple[Any, ...]], start: Float64) -> Trees:
    """Lay trees one behind the other."""
    sizes = np.array([len(part[0]) for part in parts])
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    left, right = (
        np.concatenate(
            [np.where(p[k] >= 0, p[k] + root, -1) for p, root in zip(parts, roots, strict=True)]
        ).astype(np.int64)
        for k in (0, 1)
    )
    feature = np.concatenate([p[2] for p in parts]).astype(np.int64)
    threshold = np.concatenate([p[3] for p in parts]).astype(np.float64)
    value = np.concatenate([p[4] for p in parts]).astype(np.float64)
    return Trees(roots, left, right, feature, threshold, value, start)


def save_trees(folder: Path, trained: TrainedTrees, *, extra: dict[str, Any]) -> None:
    """Write `trees.npz` and `checkpoint.json`, atomically; same trees, same bytes."""
    with atomic_path(folder) as part:
        part.mkdir()
        arrays = {f.name: getattr(trained.trees, f.name) for f in fields(Trees)}
        np.savez(part / "trees.npz", **arrays)
        facts = {
            "trees": trained.kind,
            "n_rounds": trained.n_rounds,
            "n_parameters": trained.n_parameters,
            "extra": extra,
            **{
                name: {"names": s.names, "mean": s.mean.tolist(), "scale": s.scale.tolist()}
                for name, s in (
                    ("node_scaling", trained.node_scaling),
                    ("edge_scaling", trained.edge_scaling),
                )
            },
        }
        (part / "checkpoint.json").write_text(canonical_json(facts), encoding="utf-8")


def load_trees(folder: Path) -> TrainedTrees:
    """Read what `save_trees` wrote."""
    facts = read_json(folder / "checkpoint.json")
    with np.load(folder / "trees.npz", allow_pickle=False) as arrays:
        trees = Trees(**{f.name: arrays[f.name] for f in fields(Trees)})
    nodes, edges = (
        Scaling(tuple(s["names"]), np.array(s["mean"]), np.array(s["scale"]))
        for s in (facts["node_scaling"], facts["edge_scaling"])
    )
    return TrainedTrees(facts["trees"], trees, nodes, edges, facts["n_rounds"])
