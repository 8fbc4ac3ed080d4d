"""Small region graphs made without images: a grid of cells whose class depends on neighbours."""

import numpy as np

from spixgraph.arrays import Float32, Int64
from spixgraph.graph.region_graph import GraphSource, RegionGraph

N_FEATURES = 5
N_EDGE_FEATURES = 3


def random_edges(rng: np.random.Generator, n: int, n_edges: int) -> Int64:
    """Draw (2, E) edges, sorted by target, then source; repeated edges and loops may occur."""
    edges = rng.integers(0, n, (2, n_edges))
    return edges[:, np.lexsort(edges)]


def random_arrays(
    rng: np.random.Generator, n: int, n_edges: int, *, features: int, edge_features: int
) -> tuple[Float32, Float32]:
    """Draw node and edge features of both signs."""
    x = rng.normal(size=(n, features)).astype(np.float32)
    return x, rng.normal(size=(n_edges, edge_features)).astype(np.float32)


def toy_graph(
    seed: int, *, side: int = 12, n_classes: int = 2, weight: bool = False
) -> RegionGraph:
    """A `side` x `side` grid with two classes that the mean over neighbours tells apart.

    Feature 0 is a noisy sign of the class, the rest is noise, so that a node alone is often wrong
    and its neighbours are needed. One eighth of the nodes is not annotated.
    """
    rng = np.random.default_rng(seed)
    row, column = np.divmod(np.arange(side * side), side)
    phase = rng.uniform(0, 2 * np.pi, 2)
    waves = np.sin(row / 2.5 + phase[0]) + np.sin(column / 2.5 + phase[1])
    label = (waves > 0.6).astype(np.int64)
    x = rng.normal(size=(side * side, N_FEATURES)).astype(np.float32)
    x[:, 0] += 1.5 * (2 * label - 1)
    x[:, 1] = 100 + 10 * x[:, 1]
    edge_index = _grid_edges(side)
    edge_attr = rng.normal(size=(edge_index.shape[1], N_EDGE_FEATURES)).astype(np.float32)
    target = np.eye(n_classes, dtype=np.float32)[label]
    annotated = (rng.random(side * side) > 0.125).astype(np.float32)
    names = ("weight", "e1", "e2") if weight else ("e0", "e1", "e2")
    return RegionGraph(
        x=x,
        feature_names=tuple(f"f{i}" for i in range(N_FEATURES)),
        centroid_px=np.stack([np.zeros(side * side), row, column], 1).astype(np.float64),
        n_pixels=rng.integers(20, 60, side * side),
        edge_index=edge_index,
        edge_attr=np.abs(edge_attr) if weight else edge_attr,
        edge_feature_names=names,
        source=GraphSource(f"{seed:064x}", (1, side, side), None, {}),
        target=target * annotated[:, None],
        annotated=annotated,
    )


def _grid_edges(side: int) -> Int64:
    nodes = np.arange(side * side).reshape(side, side)
    right = np.stack([nodes[:, :-1].ravel(), nodes[:, 1:].ravel()])
    down = np.stack([nodes[:-1].ravel(), nodes[1:].ravel()])
    pairs = np.concatenate([right, down], axis=1)
    edges = np.concatenate([pairs, pairs[::-1]], axis=1)
    return edges[:, np.lexsort(edges)]
