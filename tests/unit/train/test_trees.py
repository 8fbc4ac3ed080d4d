from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from spixgraph.config.params import BoostingTraining, ForestTraining
from spixgraph.errors import InputError
from spixgraph.files import sha256_tree
from spixgraph.train import trees as module
from spixgraph.train.trees import TrainedTrees, TreeKind, load_trees, save_trees, train_trees
from tests.toy_graphs import toy_graph

TRAIN, VAL = [toy_graph(seed) for seed in range(3)], [toy_graph(10)]
PARAMS: dict[TreeKind, ForestTraining | BoostingTraining] = {
    "forest": ForestTraining(trees=7),
    "boosting": BoostingTraining(rounds=5, leaves=6),
}
NO_EDGES = np.zeros((2, 0), np.int64), np.zeros((0, 3), np.float32)


def train(kind: TreeKind, n_classes: int = 2, seed: int = 0) -> TrainedTrees:
    graphs = [toy_graph(s, n_classes=n_classes) for s in range(3)]
    val = [toy_graph(10, n_classes=n_classes)]
    return train_trees(kind, graphs, val, PARAMS[kind], seed=seed)


@pytest.mark.parametrize("kind", ["forest", "boosting"])
def test_trees_learn_and_say_the_same_again(kind: TreeKind, tmp_path: Path) -> None:
    trained = train(kind)
    graph = VAL[0]
    logits = trained(trained.node_scaling.apply(graph.x), *NO_EDGES)
    assert logits.dtype == np.float32
    assert graph.target is not None
    known = graph.annotated == 1
    right = (logits.argmax(1) == graph.target.argmax(1))[known]
    assert right.mean() > 0.75
    save_trees(tmp_path / "a", trained, extra={})
    save_trees(tmp_path / "b", train(kind), extra={})
    assert sha256_tree(tmp_path / "a") == sha256_tree(tmp_path / "b")
    again = load_trees(tmp_path / "a")
    np.testing.assert_array_equal(again(again.node_scaling.apply(graph.x), *NO_EDGES), logits)


@pytest.mark.parametrize("n_seen", [2, 3])
@pytest.mark.parametrize("kind", ["forest", "boosting"])
def test_the_arrays_are_the_trees_of_scikit_learn(kind: TreeKind, n_seen: int) -> None:
    """Classes 0 and 2 (and 3) of 4 are seen; the others must never win."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 5)).astype(np.float32)
    classes = np.array([0, 2, 3])[:n_seen][rng.integers(0, n_seen, 400)]
    x[:, 0] += classes
    one = np.ones(len(x))
    if kind == "forest":
        ours = module._forest(x, classes, one, 4, ForestTraining(trees=5), 0).outputs(x)
        forest = RandomForestClassifier(5, min_samples_leaf=3, random_state=0)
        forest.fit(x, classes, sample_weight=one)  # weights decide what is drawn
        wanted = forest.predict_proba(x)
    else:
        settings = BoostingTraining(rounds=4)
        trees, n_rounds = module._boosting(x, classes, one, 4, settings, 0, (x, classes, one))
        ours = np.exp(trees.outputs(x))
        ours /= ours.sum(1, keepdims=True)
        boosting = HistGradientBoostingClassifier(max_iter=4, early_stopping=False, random_state=0)
        wanted = list(boosting.fit(x, classes).staged_predict_proba(x))[n_rounds - 1]
    seen = [0, 2, 3][:n_seen]
    np.testing.assert_allclose(ours[:, seen], wanted, atol=1e-6)
    assert set(ours.argmax(1)) <= set(seen)


def test_one_class_is_refused() -> None:
    graph = toy_graph(0)
    assert graph.target is not None
    alone = replace(graph, target=graph.target * np.array([1, 0], np.float32))
    with pytest.raises(InputError, match=r"show 1 class.*annotate a second"):
        train_trees("forest", [alone], VAL, PARAMS["forest"], seed=0)
