from collections.abc import Sequence

import numpy as np
import pytest

from spixgraph.arrays import Float32
from spixgraph.errors import InputError
from spixgraph.graph.blocks.block_graph import edge_feature_names, node_feature_names
from spixgraph.graph.blocks.pixel_maps import pixel_map_names
from spixgraph.graph.exposure import Exposure, responses
from spixgraph.graph.image_scaling import Scalings, TableSums, between
from spixgraph.graph.region_graph import RegionGraph
from spixgraph.graph.scaling import Scaling, fit_scaling
from tests.unit.graph.given_labels import graph_of_labels

NODES = (*node_feature_names(2, 4, is_volume=False), "c0_contrast", "c1_contrast")
SHAPE = (1, 40, 48)


def exposure_of(x: Float32, names: Sequence[str]) -> Exposure:
    return TableSums.of(x, names).exposure()


def graph(gain: float, brightness: float) -> RegionGraph:
    rng = np.random.default_rng(0)
    image = rng.random((*SHAPE, 2), np.float32) * np.float32(0.3) + np.float32(0.2)
    image = image * np.float32(gain) + np.float32(brightness)
    labels = (np.indices(SHAPE)[1] // 8 * 6 + np.indices(SHAPE)[2] // 8).astype(np.int32)
    return graph_of_labels(image, labels)


def test_columns_follow_the_exposure_of_the_image() -> None:
    """Measured: features of a brighter image of more contrast, against those of the image."""
    plain, bright = graph(1, 0), graph(1.5, 0.1)
    for names, a, b in (
        (plain.feature_names, plain.x, bright.x),
        (plain.edge_feature_names, plain.edge_attr, bright.edge_attr),
    ):
        level, gain = responses(names)
        predicted = a * np.where(gain, 1.5, 1.0) + np.where(level, 0.1, 0.0)
        decile = np.array(["decile" in name for name in names])  # of a histogram of 64 bins
        np.testing.assert_allclose(b[:, ~decile], predicted[:, ~decile], atol=2e-4)
        np.testing.assert_allclose(b[:, decile], predicted[:, decile], atol=0.02)


def test_every_column_has_a_response() -> None:
    free = {"log_n_pixels", "border", "elongation", "compactness", "log_contact", "log_size_ratio"}
    free |= {"offset_z", "offset_y", "offset_x"}
    for names in (NODES, edge_feature_names(2), pixel_map_names(2, 4, is_volume=True)):
        level, gain = responses(names)
        assert {n for n, g in zip(names, gain, strict=True) if not g} <= free
        assert not (level & ~gain).any()
        named = {n for n, a in zip(names, level, strict=True) if a}
        assert named == {n for n in names if n.endswith("_intensity") or "decile" in n
                         or n.endswith("_intensity_mean") or "_smooth_" in n}  # fmt: skip


def test_exposure_is_taken_out() -> None:
    plain, bright = graph(1, 0), graph(1.5, 0.1)
    names = plain.feature_names
    ours, theirs = (exposure_of(g.x, names) for g in (plain, bright))
    assert theirs.mean == pytest.approx(1.5 * ours.mean + 0.1, abs=1e-5)
    assert theirs.spread == pytest.approx(1.5 * ours.spread, abs=1e-5)
    decile = np.array(["decile" in name for name in names])
    a, b = ours.remove(plain.x, names), theirs.remove(bright.x, names)
    np.testing.assert_allclose(a[:, ~decile], b[:, ~decile], atol=5e-3)
    mean = names.index("c0_intensity_mean")
    assert abs(a[:, mean].mean() + a[:, names.index("c1_intensity_mean")].mean()) < 1e-4


def test_scaling_of_an_image_is_removal_then_scaling() -> None:
    bright = graph(1.5, 0.1)
    exposure = exposure_of(bright.x, bright.feature_names)
    removed = exposure.remove(bright.x, bright.feature_names)
    scaling = fit_scaling([removed], bright.feature_names)
    got = exposure.of_scaling(scaling).apply(bright.x)
    np.testing.assert_allclose(got, scaling.apply(removed), atol=1e-3)


def test_sums_add_up() -> None:
    g = graph(1, 0)
    names = g.feature_names
    parts, whole = TableSums.of(g.x[:11], names) + TableSums.of(g.x[11:], names), g.x
    assert parts.count == len(whole)
    np.testing.assert_allclose(parts.total, whole.sum(0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(parts.total_sq, np.square(whole, dtype=np.float64).sum(0), rtol=1e-6)
    with pytest.raises(InputError, match="do not add up"):
        parts + TableSums.of(g.x[:, :3], names[:3])


def test_scaling_between_two_is_the_mixture_of_their_values() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 3)).astype(np.float32)
    a, b = (fit_scaling([x * s + s], ("a", "b", "c")) for s in (1, 3))
    wanted = 0.3 * a.apply(x) + 0.7 * b.apply(x)
    np.testing.assert_allclose(between(a, b, 0.7).apply(x), wanted, atol=1e-6)


def test_columns_of_an_image_of_another_exposure_are_the_same() -> None:
    plain, bright = graph(1, 0), graph(1.5, 0.1)
    names, edge_names = plain.feature_names, plain.edge_feature_names
    exposure = exposure_of(plain.x, names)
    scalings = Scalings(
        fit_scaling([exposure.remove(plain.x, names)], names),
        fit_scaling([exposure.remove(plain.edge_attr, edge_names)], edge_names),
        Scaling.identity(("c0_intensity",)),
    )
    ours, theirs = (scalings.at(TableSums.of(g.x, names)) for g in (plain, bright))
    keep = np.array(["decile" not in name for name in names])
    a, b = ours.nodes.apply(plain.x), theirs.nodes.apply(bright.x)
    np.testing.assert_allclose(a[:, keep], b[:, keep], atol=0.02)
    a, b = ours.edges.apply(plain.edge_attr), theirs.edges.apply(bright.edge_attr)
    np.testing.assert_allclose(a, b, atol=0.02)
    plain_edges = Scalings(scalings.nodes, scalings.edges).at(TableSums.of(plain.x, names)).edges
    assert plain_edges is scalings.edges  # a network without a decoder


def test_an_empty_image_is_not_blown_up() -> None:
    scaling = Scaling(("f0",), np.array([5.0]), np.array([2.0]))
    flat = TableSums.of(np.full((9, 1), 3, np.float32), ("f0",)).own_scaling(scaling)
    assert flat.mean[0] == pytest.approx(3)
    assert flat.scale[0] == pytest.approx(0.5)


def test_other_tables_have_no_exposure() -> None:
    x = np.ones((3, 2), np.float32)
    assert exposure_of(x, ("f0", "f1")) == Exposure(0.0, 1.0)
    black = np.zeros((3, 2), np.float32)
    assert exposure_of(black, ("c0_intensity_mean", "c0_intensity_std")).spread > 0
    with pytest.raises(InputError, match=r"\(n, 1\)"):
        exposure_of(x, ("f0",))
