from typing import Any

import numpy as np
import pytest
from skimage.io import imread

from spixgraph.errors import InputError
from spixgraph.graph.paper import nearest_neighbour_edges, paper_features, paper_graph
from spixgraph.graph.region_graph import GraphSource
from spixgraph.graph.targets import with_targets
from spixgraph.superpixels.quality import achievable_segmentation_accuracy, boundary_recall
from spixgraph.superpixels.slic import slic_labels
from tests.real_data import real_data


def grid(n_y, n_x, step=10.0):
    y, x = np.mgrid[:n_y, :n_x] * step
    return np.stack([np.zeros(n_y * n_x), y.ravel(), x.ravel()], axis=1)


def edges_slow(centroid, k):
    """Sort all others by distance, then id."""
    edges = []
    for target, here in enumerate(centroid):
        far = [(np.linalg.norm(here - there), i) for i, there in enumerate(centroid) if i != target]
        edges += [(s, target) for s in sorted(i for _, i in sorted(far)[:k])]
    return edges


@pytest.mark.parametrize("k", [1, 3, 10, 24, 99])
@pytest.mark.parametrize(
    "centroid",
    [
        np.random.default_rng(0).uniform(0, 100, (60, 3)),
        grid(7, 8),
        np.zeros((30, 3)),
        np.repeat(grid(3, 3), 5, axis=0),
    ],
    ids=["random", "grid of ties", "all in one place", "five in each place"],
)
def test_edges_match_the_slow_twin(centroid, k):
    edge_index, weight = nearest_neighbour_edges(centroid, k, "pixels")
    assert list(map(tuple, edge_index.T.tolist())) == edges_slow(centroid, k)
    far = np.linalg.norm(centroid[edge_index[0]] - centroid[edge_index[1]], axis=1)
    np.testing.assert_allclose(weight[:, 0], np.exp(-far), rtol=1e-5, atol=1e-37)
    assert edge_index.dtype == np.int64
    assert weight.dtype == np.float32


def test_weight_in_units_of_the_mean_spacing_does_not_depend_on_the_scale():
    _, weight = nearest_neighbour_edges(grid(5, 5), 2, "spacing")
    _, larger = nearest_neighbour_edges(grid(5, 5, 70.0), 2, "spacing")
    np.testing.assert_allclose(weight, larger)
    np.testing.assert_allclose(weight, np.exp(-1))


def test_the_faithful_weight_is_next_to_nothing():
    _, weight = nearest_neighbour_edges(grid(9, 9, 18.0), 10, "pixels")
    assert 0 < weight.reshape(81, 10).sum(1).max() < 1e-7


@pytest.mark.parametrize("edge_weight", ["pixels", "spacing"])
def test_one_node_has_no_edge(edge_weight):
    edge_index, weight = nearest_neighbour_edges(np.zeros((1, 3)), 10, edge_weight)
    assert edge_index.shape == (2, 0)
    assert weight.shape == (0, 1)


def test_bad_settings_are_refused():
    with pytest.raises(InputError, match="k must be"):
        nearest_neighbour_edges(np.zeros((3, 3)), 0, "pixels")
    with pytest.raises(InputError, match="edge_weight"):
        nearest_neighbour_edges(np.zeros((3, 3)), 1, "miles")  # type: ignore[arg-type]  # on purpose


def test_features_are_those_of_numpy_also_below_zero():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, (2, 9, 10)).astype(np.int32)
    labels[0, 0, 0] = 7
    image = rng.normal(size=(2, 9, 10, 2)).astype(np.float32)
    image[0, 1, :3] = (0.0, -0.0)
    x, names = paper_features(image, labels)
    assert x.shape == (8, 22)
    assert names[:3] == ("c0_mean", "c0_std", "c0_decile_1")
    assert names[11:] == tuple(n.replace("c0", "c1") for n in names[:11])
    for i in range(8):
        for c in range(2):
            values = image[labels == i][:, c].astype(np.float64)
            wanted = [values.mean(), values.std(), *np.quantile(values, np.arange(1, 10) / 10)]
            np.testing.assert_allclose(x[i, 11 * c : 11 * c + 11], wanted, atol=1e-6)


def graph_of(image, labels, **change):
    given: dict[str, Any] = {
        "image": image, "labels": labels, "n_neighbours": 10, "edge_weight": "pixels",
        "source": GraphSource("0" * 64, labels.shape, None, {}),
    }  # fmt: skip
    return paper_graph(**(given | change))


def test_one_superpixel_has_no_edge():
    graph = graph_of(np.ones((1, 4, 3, 2), np.float32), np.zeros((1, 4, 3), np.int32))
    assert graph.n_regions == 1
    assert graph.edge_index.shape == (2, 0)
    assert graph.edge_attr.shape == (0, 1)
    assert graph.centroid_px.tolist() == [[0, 1.5, 1]]


@pytest.mark.parametrize(
    "change",
    [
        {"image": np.zeros((1, 4, 5, 1), np.float32)},
        {"image": np.zeros((1, 4, 4), np.float32)},
        {"image": np.full((1, 4, 4, 1), np.inf, np.float32)},
        {"labels": np.full((1, 4, 4), 1, np.int32)},
        {"labels": np.zeros((1, 4, 4), np.int64)},
        {"source": GraphSource("0", (1, 5, 4), None, {})},
        {"n_neighbours": 0},
    ],
)
def test_arrays_that_do_not_fit_are_refused(change):
    image, labels = np.zeros((1, 4, 4, 1), np.float32), np.zeros((1, 4, 4), np.int32)
    with pytest.raises(InputError):
        graph_of(**({"image": image, "labels": labels} | change))


def test_real_tem_image():
    folder = real_data("axon_tem")
    name = sorted(p.name for p in (folder / "images").iterdir())[0]
    pixels, mask = imread(folder / "images" / name), imread(folder / "masks" / name)[None]
    low, high = np.quantile(pixels, [0.001, 0.999])
    image = np.clip((pixels - low) / (high - low), 0, 1).astype(np.float32)[None, ..., None]
    labels = slic_labels(image, n_segments=1500, compactness=0.15, sigma_px=1, max_iterations=5)
    n_classes = int(mask[mask != 255].max()) + 1
    learned = with_targets(graph_of(image, labels), labels, mask, n_classes)
    assert (learned.x.std(0) > 0).all()
    assert 1000 < learned.n_regions < 2000
    assert learned.target is not None
    assert learned.target.sum(1) == pytest.approx(1)
    assert achievable_segmentation_accuracy(labels, mask, n_classes) > 0.88
    assert boundary_recall(labels, mask, 2) > 0.7
