from pathlib import Path

import numpy as np
import pytest

from spixgraph.errors import InputError
from spixgraph.graph.image_samples import SAMPLES, image_samples, keep_taught, save_taught
from spixgraph.graph.pixel_samples import PER_NODE, open_samples, place_names, save_samples
from spixgraph.graph.region_graph import load_graph, save_graph
from spixgraph.graph.stored_graph import StoredGraph
from spixgraph.graph.stream import hold_graph, image_graph, stream_graph
from spixgraph.graph.targets import with_targets
from spixgraph.io.images import ArraySource


@pytest.mark.parametrize(("shape", "is_volume"), [((1, 90, 140), False), ((20, 70, 40), True)])
def test_samples_of_an_image(shape: tuple[int, int, int], is_volume: bool, tmp_path: Path) -> None:
    """Each sample is a pixel of its superpixel: found again by its place, with its intensity."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (*shape, 1), np.uint8)
    source = ArraySource(pixels, (1.0, 1.0, 1.0) if is_volume else None)
    labels, graph = image_graph(source, nodes_per_megapixel=9000)
    streamed = stream_graph(source, tmp_path / "graph", nodes_per_megapixel=9000)
    mask = (pixels[..., 0] > 128).astype(np.uint8)
    mask[..., :5] = 255
    samples = image_samples(source, streamed, mask)
    assert samples.n_regions == graph.n_regions
    assert samples.names[-len(place_names(is_volume=is_volume)) :] == place_names(
        is_volume=is_volume
    )
    low, high = streamed.plan.limits[0]
    seen = 0
    for node in np.flatnonzero(samples.classes[:, 0] != 255)[:: graph.n_regions // 40]:
        values = dict(zip(samples.names, samples.values[node].astype(float).T, strict=True))
        size = graph.n_pixels[node] ** (1 / 3 if is_volume else 1 / 2)
        for j in range(PER_NODE):
            z = values["place_z"][j] * size if is_volume else 0
            offset = np.array([z, values["place_y"][j] * size, values["place_x"][j] * size])
            z, y, x = np.rint(graph.centroid_px[node] + offset).astype(int)
            assert labels[z, y, x] == node
            assert mask[z, y, x] == samples.classes[node, j]
            wanted = np.clip((pixels[z, y, x, 0] - low) / (high - low), 0, 1)
            assert values["c0_intensity"][j] == pytest.approx(wanted, abs=2e-3)
            seen += 1
    assert seen > 30


def test_other_shapes_are_refused(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 40, 40, 1), np.uint8)
    source = ArraySource(pixels, None)
    graph = stream_graph(source, tmp_path / "graph", nodes_per_megapixel=9000)
    with pytest.raises(InputError, match="one shape"):
        image_samples(source, graph, np.zeros((1, 40, 41), np.uint8))


def test_a_taught_graph_has_the_bytes_of_its_parts(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 540, 90, 1), np.uint8)
    source = ArraySource(pixels, None)
    labels, _ = image_graph(source, nodes_per_megapixel=9000)
    made = stream_graph(source, tmp_path / "graph", nodes_per_megapixel=9000)
    mask = (pixels[..., 0] > 128).astype(np.uint8)
    mask[..., :5] = 255
    save_taught(source, made, mask, 3, tmp_path / "a")
    save_graph(with_targets(load_graph(tmp_path / "graph"), labels, mask, 3), tmp_path / "b")
    save_samples(image_samples(source, made, mask), tmp_path / "b" / SAMPLES)
    ours, theirs = (
        {
            p.relative_to(tmp_path / f): p.read_bytes()
            for p in (tmp_path / f).rglob("*")
            if p.is_file()
        }
        for f in "ab"
    )
    assert len(ours) > 10
    assert ours == theirs
    with pytest.raises(InputError, match="raise n_classes"):
        save_taught(source, made, mask, 1, tmp_path / "c")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(("shape", "n_rows"), [((1, 540, 90), 100), ((9, 40, 50), 1)])
def test_files_hold_the_tables_of_a_taught_graph(
    shape: tuple[int, int, int], n_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spixgraph.graph.image_samples._ROWS_AT_ONCE", n_rows)
    pixels = np.random.default_rng(1).integers(0, 256, (*shape, 2), np.uint8)
    source = ArraySource(pixels, (1.0, 1.0, 1.0) if shape[0] > 1 else None)
    mask = (pixels[..., 0] > 128).astype(np.uint8)
    mask[..., :5] = 255
    made = stream_graph(source, tmp_path / "graph", nodes_per_megapixel=9000)
    save_taught(source, made, mask, 3, tmp_path / "a")
    held = hold_graph(source, nodes_per_megapixel=9000)
    graph, samples = keep_taught(source, held, mask, 3, tmp_path / "b")
    wanted, wanted_samples = (
        StoredGraph.open(tmp_path / "a"),
        open_samples(tmp_path / "a" / SAMPLES),
    )
    assert graph.n_regions == wanted.n_regions == samples.n_regions > 10
    assert graph.source == wanted.source
    assert (graph.feature_names, graph.edge_feature_names) == (
        wanted.feature_names, wanted.edge_feature_names
    )  # fmt: skip
    assert samples.names == wanted_samples.names
    for ours, theirs, names in (
        (graph, wanted, ("x", "centroid_px", "n_pixels", "edge_index", "edge_attr", "target",
                         "annotated")),
        (samples, wanted_samples, ("values", "classes")),
    ):  # fmt: skip
        for name in names:
            found, there = getattr(ours, name), np.asarray(getattr(theirs, name)[:])
            assert found.shape == there.shape
            np.testing.assert_array_equal(found[:], there, strict=True)
            rows = (slice(None), slice(2, 7)) if name == "edge_index" else slice(2, 7)
            np.testing.assert_array_equal(found[rows], there[rows], strict=True)
