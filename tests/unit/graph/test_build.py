import dataclasses

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.io import imread

from spixgraph.errors import InputError
from spixgraph.files import sha256_tree
from spixgraph.graph.build import paper_graph, rag_graph, with_targets
from spixgraph.graph.region_graph import GraphSource, save_graph
from spixgraph.superpixels.quality import achievable_segmentation_accuracy, boundary_recall
from spixgraph.superpixels.slic import slic_labels
from tests.real_data import real_data


def source_of(labels, pixel_size_um=None):
    return GraphSource("0" * 64, labels.shape, pixel_size_um, {"kind": "rag"})


def tiles(shape, size):
    z, y, x = (np.arange(n) // s for n, s in zip(shape, size, strict=True))
    labels = (z[:, None, None] * 1000 + y[:, None]) * 1000 + x
    return np.unique(labels, return_inverse=True)[1].reshape(shape).astype(np.int32)


def smooth_noise(shape, seed=0):
    image = gaussian_filter(np.random.default_rng(seed).normal(size=shape), (0, 2, 2, 0))
    return ((image - image.min()) / np.ptp(image)).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 30, 40, 1), (1, 30, 40, 3), (6, 24, 24, 2)])
@pytest.mark.parametrize("pixel_size_um", [None, (0.4, 0.2, 0.2), (5.0, 0.1, 0.1)])
def test_names_depend_on_channels_and_scales_alone(shape, pixel_size_um):
    labels = tiles(shape[:3], (3, 8, 8))
    graph = rag_graph(
        smooth_noise(shape), labels, n_scales=4, source=source_of(labels, pixel_size_um)
    )
    flat = np.zeros((1, 5, 5, shape[-1]), np.float32)
    other = rag_graph(
        flat, np.zeros((1, 5, 5), np.int32), n_scales=4, source=source_of(flat[..., 0])
    )
    assert graph.feature_names == other.feature_names
    assert graph.edge_feature_names == other.edge_feature_names
    assert graph.target is None


@pytest.mark.parametrize("shape", [(1, 32, 32, 1), (8, 16, 16, 2)])
def test_a_constant_image_has_no_texture_and_no_contrast(shape):
    labels = tiles(shape[:3], (4, 8, 8))
    image = np.full(shape, 0.7, np.float32)
    graph = rag_graph(image, labels, n_scales=5, source=source_of(labels, (0.2, 0.2, 0.2)))
    for name, column in zip(graph.feature_names, graph.x.T, strict=True):
        level = name.endswith("mean") and ("intensity" in name or "smooth" in name)
        if level or "decile" in name:
            np.testing.assert_allclose(column, 0.7, atol=1 / 64)
        elif name not in ("log_n_pixels", "border", "elongation", "compactness"):
            np.testing.assert_allclose(column, 0, atol=2e-3, err_msg=name)
    assert np.isfinite(graph.edge_attr).all()


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 40, 30, 2), (4, 9, 7, 1)])
def test_one_superpixel(shape):
    labels = np.zeros(shape[:3], np.int32)
    image = smooth_noise(shape) if shape[1] > 1 else np.ones(shape, np.float32)
    rag = rag_graph(image, labels, n_scales=6, source=source_of(labels))
    paper = paper_graph(
        image, labels, n_neighbours=10, edge_weight="pixels", source=source_of(labels)
    )
    for graph in (rag, paper):
        assert graph.n_regions == 1
        assert graph.edge_index.shape == (2, 0)
        assert graph.edge_attr.shape == (0, len(graph.edge_feature_names))
        assert np.isfinite(graph.x).all()


def test_shape_columns_know_a_bar_from_a_square_and_a_square_from_a_ring():
    labels = np.zeros((1, 60, 60), np.int32)
    labels[0, 5:7, 5:45] = 1
    labels[0, 20:30, 10:20] = 2
    labels[0, 35:50, 10:25] = 3
    labels[0, 38:47, 13:22] = 4
    image = np.zeros((1, 60, 60, 1), np.float32)
    graph = rag_graph(image, labels, n_scales=1, source=source_of(labels))
    column = dict(zip(graph.feature_names, graph.x.T, strict=True))
    assert column["elongation"][1] > 0.9
    assert column["elongation"][2:] == pytest.approx(0, abs=1e-6)
    bar, square, ring = column["compactness"][1:4]
    assert square == pytest.approx(3 / np.pi, abs=0.01)
    assert bar == pytest.approx(3 / np.pi, abs=0.01)
    assert ring < 0.6
    assert column["border"].tolist() == pytest.approx([236 / graph.n_pixels[0], 0, 0, 0, 0])


def test_neighbour_contrast_is_weighted_by_contact():
    labels = np.array([[[0, 0, 0, 0], [1, 1, 1, 2]]], np.int32)
    image = np.array([0.2, 0.4, 0.8], np.float32)[labels][..., None]
    graph = rag_graph(image, labels, n_scales=1, source=source_of(labels))
    contrast = graph.x[:, graph.feature_names.index("c0_contrast")]
    assert contrast == pytest.approx(
        [0.2 - (3 * 0.4 + 0.8) / 4, 0.4 - (3 * 0.2 + 0.8) / 4, 0.8 - 0.3], abs=1e-6
    )


def test_neighbour_contrast_over_one_touch():
    labels = np.array([[[0, 1]]], np.int32)
    image = np.array([[[[0.25], [0.75]]]], np.float32)
    graph = rag_graph(image, labels, n_scales=1, source=source_of(labels))
    assert graph.x[:, -1].tolist() == [-0.5, 0.5]


def test_deciles_are_finer_than_a_bin():
    image = np.linspace(0, 1, 20_000, dtype=np.float32).reshape(1, 100, 200, 1)
    labels = np.zeros((1, 100, 200), np.int32)
    graph = rag_graph(image, labels, n_scales=1, source=source_of(labels))
    first = graph.feature_names.index("c0_decile_1")
    np.testing.assert_allclose(graph.x[0, first : first + 9], np.arange(1, 10) / 10, atol=1e-3)


def test_same_input_same_bytes_and_arguments_are_left_alone(tmp_path):
    image, labels = smooth_noise((1, 50, 60, 2)), tiles((1, 50, 60), (1, 7, 7))
    before = image.copy(), labels.copy()
    for name in "ab":
        save_graph(rag_graph(image, labels, n_scales=3, source=source_of(labels)), tmp_path / name)
    assert sha256_tree(tmp_path / "a") == sha256_tree(tmp_path / "b")
    np.testing.assert_array_equal(before[0], image)
    np.testing.assert_array_equal(before[1], labels)


def test_views_give_the_same_graph_as_copies():
    image, labels = smooth_noise((1, 60, 50, 3)), tiles((1, 60, 50), (1, 7, 7))
    view, copied = image[:, ::2, :, 1:], image[:, ::2, :, 1:].copy()
    cut = labels[:, :30]
    graphs = [
        rag_graph(pixels, ids, n_scales=3, source=source_of(cut))
        for pixels, ids in ((view, cut), (copied, cut.copy()))
    ]
    np.testing.assert_array_equal(graphs[0].x, graphs[1].x)
    np.testing.assert_array_equal(graphs[0].edge_attr, graphs[1].edge_attr)


@pytest.mark.parametrize(
    "change",
    [
        {"image": np.zeros((1, 4, 5, 1), np.float32)},
        {"image": np.zeros((1, 4, 4), np.float32)},
        {"image": np.full((1, 4, 4, 1), np.inf, np.float32)},
        {"labels": np.full((1, 4, 4), 1, np.int32)},
        {"labels": np.zeros((1, 4, 4), np.int64)},
        {"source": GraphSource("0", (1, 5, 4), None, {})},
        {"n_scales": 0},
    ],
)
def test_bad_input_is_refused(change):
    labels = np.zeros((1, 4, 4), np.int32)
    image = np.zeros((1, 4, 4, 1), np.float32)
    given = {"image": image, "labels": labels, "n_scales": 2, "source": source_of(labels)}
    with pytest.raises(InputError):
        rag_graph(**(given | change))


def test_real_tem_image():
    folder = real_data("axon_tem")
    name = sorted(p.name for p in (folder / "images").iterdir())[0]
    pixels = imread(folder / "images" / name)
    mask = imread(folder / "masks" / name)[None]
    low, high = np.quantile(pixels, [0.001, 0.999])
    image = np.clip((pixels - low) / (high - low), 0, 1).astype(np.float32)[None, ..., None]
    labels = slic_labels(image, n_segments=1500, compactness=0.15, sigma_px=1, max_iterations=5)
    graph = rag_graph(image, labels, n_scales=4, source=source_of(labels))
    n_classes = int(mask[mask != 255].max()) + 1
    learned = with_targets(graph, labels, mask, n_classes)
    assert np.isfinite(graph.x).all()
    assert (graph.x.std(0) > 0).all()
    assert 1000 < graph.n_regions < 2000
    assert learned.target is not None
    assert learned.target.sum(1) == pytest.approx(1)
    assert achievable_segmentation_accuracy(labels, mask, n_classes) > 0.88
    assert boundary_recall(labels, mask, 2) > 0.7
    assert dataclasses.replace(learned, target=None, annotated=None).n_regions == graph.n_regions
