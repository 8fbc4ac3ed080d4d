import numpy as np
import pytest

from spixgraph.arrays import Array, Float32
from spixgraph.graph.augment import View, draw_view
from spixgraph.graph.pixel_samples import place_names
from spixgraph.graph.region_graph import RegionGraph
from spixgraph.graph.scaling import Scaling, fit_scaling
from tests.unit.graph.given_labels import graph_of_labels

SHAPE = (1, 48, 48)
VIEWS = {
    "as it is": View((1.0, 1.0, 1.0), False, 1.0, 0.0),
    "mirrored": View((1.0, -1.0, 1.0), False, 1.0, 0.0),
    "turned": View((1.0, 1.0, -1.0), True, 1.0, 0.0),
    "transposed": View((1.0, 1.0, 1.0), True, 1.0, 0.0),
    "dimmed": View((1.0, 1.0, 1.0), False, 0.7, 0.1),
}


def picture() -> tuple[Float32, np.ndarray]:
    """An image, and cells of 8 pixels."""
    image = np.random.default_rng(0).random((*SHAPE, 1), np.float32) * np.float32(0.5)
    return image, (np.indices(SHAPE)[1] // 8 * 6 + np.indices(SHAPE)[2] // 8).astype(np.int32)


def seen(values: np.ndarray, view: View) -> np.ndarray:
    """Turn an image as the view says: mirrored, then transposed."""
    for axis, sign in enumerate(view.sign_zyx):
        values = np.flip(values, axis) if sign < 0 else values
    return np.ascontiguousarray(values.swapaxes(1, 2) if view.swap_yx else values)


def edges_by_pair(g: RegionGraph, values: Array) -> Array:
    return values[np.lexsort(g.edge_index)]


@pytest.mark.parametrize("name", VIEWS)
def test_columns_are_those_of_the_changed_image(name: str) -> None:
    """The law: map the columns of a graph, or make the graph of the changed image."""
    view = VIEWS[name]
    image, labels = picture()
    plain = graph_of_labels(image, labels)
    changed = graph_of_labels(
        seen(image, view) * np.float32(view.gain) + np.float32(view.brightness), seen(labels, view)
    )
    nodes = fit_scaling([plain.x], plain.feature_names)
    got = view.on(nodes).apply(nodes.apply(plain.x)) * nodes.scale + nodes.mean
    keep = np.array(["decile" not in n for n in plain.feature_names])  # measured in 64 bins
    np.testing.assert_allclose(got[:, keep], changed.x[:, keep], atol=2e-2)
    edges = fit_scaling([plain.edge_attr], plain.edge_feature_names)
    mapped = view.on(edges).apply(edges.apply(plain.edge_attr)) * edges.scale + edges.mean
    np.testing.assert_allclose(
        edges_by_pair(plain, mapped), edges_by_pair(changed, changed.edge_attr), atol=1e-3
    )


@pytest.mark.parametrize("is_volume", [False, True])
def test_places_follow_their_axes(is_volume: bool) -> None:
    view = View((-1.0, -1.0, 1.0), True, 1.0, 0.0)
    names = place_names(is_volume=is_volume)
    rng = np.random.default_rng(0)
    offset = {axis: rng.normal(size=50) for axis in "zyx"}
    moved = {"z": -offset["z"], "y": offset["x"], "x": -offset["y"]}

    def columns(at: dict[str, np.ndarray]) -> Float32:
        products = [np.prod([at[a] for a in n.removeprefix("place_")], axis=0) for n in names]
        return np.stack(products, 1).astype(np.float32)

    scaling = fit_scaling([columns(offset)], names)
    rows = (columns(offset) - scaling.mean) / scaling.scale
    got = view.on(scaling).apply(rows.astype(np.float32))
    np.testing.assert_allclose(got * scaling.scale + scaling.mean, columns(moved), atol=1e-4)


def test_views_are_drawn_from_the_generator_alone() -> None:
    first, again = (draw_view(np.random.default_rng(3)) for _ in range(2))
    assert first == again
    drawn = [draw_view(np.random.default_rng(i)) for i in range(64)]
    assert len({(v.sign_zyx, v.swap_yx) for v in drawn}) == 16
    assert all(0.7 < v.gain < 1.4 and abs(v.brightness) <= 0.3 for v in drawn)


def test_unknown_columns_stay() -> None:
    column_map = VIEWS["turned"].on(Scaling.identity(("f0", "weight")))
    values = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    np.testing.assert_array_equal(column_map.apply(values), values)
