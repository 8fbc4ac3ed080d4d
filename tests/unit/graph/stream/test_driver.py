"""The graph of a whole image against loops over its pixels; what is read, refused and written."""

from collections import defaultdict

import numpy as np
import pytest

from spixgraph.errors import InputError
from spixgraph.files import sha256_tree
from spixgraph.graph.blocks.describe import describe_block
from spixgraph.graph.region_graph import load_graph
from spixgraph.graph.stream import StreamedGraph, image_graph, plan_image, stream_graph
from spixgraph.graph.stream.image_plan import in_memory
from spixgraph.io.images import ArraySource, image_sha256
from spixgraph.io.limits import intensity_limits, read_scaled
from spixgraph.superpixels.basins import basin_labels
from spixgraph.superpixels.basins.block import Workspace, find_basins
from spixgraph.superpixels.basins.levels import TOP
from tests.unit.graph.stream.images import ALL, CountingSource, pixels_of, require_same_graph

NODES = 5000
SIZE = (2.0, 1.0, 1.0)
CASES = [
    ((1, 100, 90, 1), np.uint8, None, (1, 32, 48)),
    ((1, 90, 33, 3), np.uint16, None, (1, 32, 32)),
    ((3, 50, 60, 2), np.float32, (9.0, 1.0, 1.0), (1, 32, 32)),
    ((20, 34, 40, 1), np.uint8, SIZE, (16, 16, 16)),
]


def gradient_of(source, plan):
    """Gradient of the whole image, block by block."""
    grid, halo, work = plan.blocks.basins.grid, plan.blocks.halo_zyx, Workspace()
    out = np.empty(grid.shape_zyx, np.int64)
    for number in range(grid.n_blocks):
        size, tile = plan.blocks.place(number).size_zyx, plan.read_tile(source, number)
        out[grid.box(number)] = find_basins(tile, halo, size, plan.blocks.basins, work).gradient
    return out


def contacts_slow(labels, gradient):
    """Lengths, sums and maxima of gradients by pair, pixel by pixel."""
    found = defaultdict(list)
    for axis in range(3):
        near, far = (np.moveaxis(a, axis, 0)[:-1] for a in (labels, gradient))
        near_2, far_2 = (np.moveaxis(a, axis, 0)[1:] for a in (labels, gradient))
        for u, v, s, t in zip(near.flat, near_2.flat, far.flat, far_2.flat, strict=True):
            if u != v:
                found[min(u, v), max(u, v)].append(max(s, t))
    return {pair: (len(g), sum(g), max(g)) for pair, g in found.items()}


@pytest.mark.parametrize(("shape", "dtype", "size", "block"), CASES)
def test_the_graph_is_that_of_the_pixels(shape, dtype, size, block):
    source = ArraySource(pixels_of(shape, dtype), size)
    labels, graph = image_graph(source, nodes_per_megapixel=NODES, block_zyx=block)
    np.testing.assert_array_equal(graph.n_pixels, np.bincount(labels.flat))
    for i in range(graph.n_regions):
        np.testing.assert_allclose(graph.centroid_px[i], np.argwhere(labels == i).mean(0))
    plan = plan_image(source, nodes_per_megapixel=NODES, block_zyx=block)
    contacts = contacts_slow(labels, gradient_of(source, plan))
    want = sorted((v, u, *c) for (a, b), c in contacts.items() for u, v in ((a, b), (b, a)))
    target, source_id, length, total, top = np.array(want).T
    np.testing.assert_array_equal(graph.edge_index, [source_id, target])
    np.testing.assert_allclose(graph.edge_attr[:, 0], np.log(length), rtol=1e-6)
    np.testing.assert_allclose(graph.edge_attr[:, 1], total / length / (2 * TOP), rtol=1e-6)
    np.testing.assert_allclose(graph.edge_attr[:, 2], top / (2 * TOP), rtol=1e-6)
    z_size = 1 if size is None else size[0]
    volume = 1e6 / NODES * (z_size if size == SIZE else 1)
    unit = volume ** (1 / 3 if size == SIZE else 1 / 2)
    offset = (graph.centroid_px[target] - graph.centroid_px[source_id]) * [z_size, 1, 1] / unit
    np.testing.assert_allclose(graph.edge_attr[:, 3:6], offset, rtol=1e-5, atol=1e-5)
    column = dict(zip(graph.feature_names, graph.x.T, strict=True))
    mean = column["c0_intensity_mean"].astype(np.float64)
    around = np.bincount(target, length * mean[source_id]) / np.bincount(target, length)
    np.testing.assert_allclose(column["c0_contrast"], mean - around, atol=1e-5)
    np.testing.assert_allclose(graph.edge_attr[:, 7], mean[target] - mean[source_id], atol=1e-5)


@pytest.mark.parametrize(("shape", "dtype", "size"), [
    ((1, 300, 530, 1), np.uint8, None),
    ((1, 3, 700, 3), np.uint16, None),
    ((2, 259, 30, 1), np.float32, None),
    ((70, 66, 30, 1), np.uint8, SIZE),
])  # fmt: skip
def test_labels_are_those_of_the_whole_image_and_disk_is_memory(tmp_path, shape, dtype, size):
    source = ArraySource(pixels_of(shape, dtype), size)
    labels, graph = image_graph(source, nodes_per_megapixel=NODES, workers=2)
    image = read_scaled(source, intensity_limits(source), *ALL)
    wanted = basin_labels(image, nodes_per_megapixel=NODES, spacing_zyx=size)
    np.testing.assert_array_equal(labels, wanted)
    opened = stream_graph(source, tmp_path / "g.zarr", nodes_per_megapixel=NODES)
    np.testing.assert_array_equal(opened.labels[...], labels)
    require_same_graph(load_graph(tmp_path / "g.zarr"), graph)
    assert graph.source.image_sha256 == image_sha256(source)
    assert graph.source.pixel_size_um == size


def test_a_written_graph_opens_in_parts(tmp_path):
    source = ArraySource(pixels_of((2, 100, 90, 1)))
    stream_graph(source, tmp_path / "g.zarr", nodes_per_megapixel=NODES, block_zyx=(1, 32, 32))
    found, whole = StreamedGraph.open(tmp_path / "g.zarr"), load_graph(tmp_path / "g.zarr")
    assert (found.n_regions, found.n_edges) == (whole.n_regions, whole.edge_index.shape[1])
    assert found.shape_zyx == (2, 100, 90)
    work = Workspace()
    for i, number in enumerate(found.numbers):
        a, b = found.first_node[i : i + 2]
        rows, (edges, attr) = found.nodes(a, b), found.edges(*found.first_edge[i : i + 2])
        np.testing.assert_array_equal(rows.x, whole.x[a:b])
        np.testing.assert_array_equal(rows.n_pixels, whole.n_pixels[a:b])
        of_block = (whole.edge_index[1] >= a) & (whole.edge_index[1] < b)
        np.testing.assert_array_equal(edges, whole.edge_index[:, of_block])
        np.testing.assert_array_equal(attr, whole.edge_attr[of_block])
        tile = found.plan.read_tile(source, number)
        again = describe_block(tile, found.plan.blocks.place(number), found.plan.blocks, work)
        np.testing.assert_array_equal(found.block_labels(i), again.labels.astype(np.int64) + a)
        np.testing.assert_array_equal(again.x, rows.x[:, : again.x.shape[1]])


def test_bytes_do_not_depend_on_workers(tmp_path):
    source = ArraySource(pixels_of((3, 130, 100, 2)))
    hashes = set()
    for workers in (1, 2, 4):
        out = tmp_path / f"{workers}.zarr"
        stream_graph(source, out, nodes_per_megapixel=NODES, workers=workers, block_zyx=(1, 32, 32))
        hashes.add(sha256_tree(out))
    assert len(hashes) == 1
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".zarr"] == []


def test_bytes_do_not_depend_on_the_squares_that_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("spixgraph.graph.stream.image_plan.SAMPLE_PX", 10_000)  # read in a pass
    source = CountingSource(pixels_of((1, 300, 200, 1)))
    hashes = set()
    for block_px in (None, 16, 100, 1 << 16):
        out = tmp_path / f"{block_px}.zarr"
        source.n_read[...] = 0
        stream_graph(
            source, out, nodes_per_megapixel=NODES, block_px=block_px, block_zyx=(1, 64, 64)
        )
        assert source.n_read.max() == 2  # the sample
        hashes.add(sha256_tree(out))
    assert len(hashes) == 1
    for bad in (0, 15, -512, (1 << 16) + 1):
        with pytest.raises(InputError, match=rf"--block-px {bad} must be 16\.\.65536; .*tile size"):
            stream_graph(source, tmp_path / "g.zarr", nodes_per_megapixel=NODES, block_px=bad)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_small_image_is_read_once(tmp_path):
    for shape, size in (((1, 300, 200, 1), None), ((40, 30, 30, 1), (1.0, 1.0, 1.0))):
        source = CountingSource(pixels_of(shape), size)
        stream_graph(source, tmp_path / "g.zarr", nodes_per_megapixel=NODES, workers=3)
        assert (source.n_read == 1).all()


@pytest.mark.parametrize(("shape", "size", "block"), [
    ((1, 1000, 400, 1), None, (1, 256, 256)),
    ((5, 260, 270, 1), None, (1, 256, 256)),
    ((130, 66, 90, 1), (1.0, 1.0, 1.0), (64, 64, 64)),
])  # fmt: skip
def test_other_images_are_read_once_and_their_sample_twice(
    tmp_path, monkeypatch, shape, size, block
):
    monkeypatch.setattr("spixgraph.io.sample.SAMPLE_PX", 100_000)
    monkeypatch.setattr("spixgraph.io.sample.SPREAD_PX", 100_000)
    monkeypatch.setattr("spixgraph.graph.stream.image_plan.SAMPLE_PX", 100_000)
    source = CountingSource(pixels_of(shape), size)
    assert in_memory(source) is source
    plan_image(source, nodes_per_megapixel=NODES, block_zyx=block)
    sampled = source.n_read.copy()
    assert 100_000 <= sampled.sum() < source.n_read.size
    assert sampled.max() == 1
    source.n_read[...] = 0
    stream_graph(source, tmp_path / "g.zarr", nodes_per_megapixel=NODES, block_zyx=block)
    np.testing.assert_array_equal(source.n_read, 1 + sampled)


@pytest.mark.parametrize(("shape", "size", "block", "roi"), [
    ((1, 100, 90, 1), None, (1, 32, 32), (slice(None), slice(32, 64), slice(0, 64))),
    ((1, 100, 90, 1), None, (1, 32, 32), (slice(0, 1), slice(64, 100), slice(32, 90))),
    ((4, 60, 70, 1), None, (1, 32, 32), (slice(1, 3), slice(32, 60), slice(None))),
    ((40, 40, 50, 1), SIZE, (16, 16, 16), (slice(16, 32), slice(0, 32), slice(16, 50))),
])  # fmt: skip
def test_a_region_of_interest_is_a_part_of_the_whole(tmp_path, shape, size, block, roi):
    source = ArraySource(pixels_of(shape), size)
    labels, whole = image_graph(source, nodes_per_megapixel=NODES, block_zyx=block)
    out = tmp_path / "roi.zarr"
    found = stream_graph(source, out, nodes_per_megapixel=NODES, roi=roi, block_zyx=block)
    part = load_graph(out)
    ids, inverse = np.unique(labels[roi], return_inverse=True)
    np.testing.assert_array_equal(found.labels[...], inverse.reshape(labels[roi].shape))
    names = [n for n in whole.feature_names if not n.endswith("_contrast")]
    np.testing.assert_array_equal(part.x[:, : len(names)], whole.x[ids][:, : len(names)])
    np.testing.assert_array_equal(part.centroid_px, whole.centroid_px[ids])
    within = np.isin(whole.edge_index, ids).all(axis=0)
    wanted = np.searchsorted(ids, whole.edge_index[:, within])
    np.testing.assert_array_equal(part.edge_index, wanted)
    np.testing.assert_array_equal(part.edge_attr, whole.edge_attr[within])
    alone = ~np.isin(np.arange(whole.n_regions), ids)
    edge_of_part = np.isin(ids, whole.edge_index[1, alone[whole.edge_index[0]]])
    np.testing.assert_array_equal(part.x[~edge_of_part], whole.x[ids][~edge_of_part])
    crop = np.ascontiguousarray(source.read(*ALL)[roi])
    assert found.image_sha256 == image_sha256(ArraySource(crop))


def test_a_flat_image_has_one_node_per_block(tmp_path):
    flat = np.zeros((1, 300, 300, 1), np.uint8)
    _, found = image_graph(ArraySource(flat), nodes_per_megapixel=NODES)
    assert found.n_regions == 4
    assert found.edge_index.T.tolist() == [
        [1, 0], [2, 0], [0, 1], [3, 1], [0, 2], [3, 2], [1, 3], [2, 3],
    ]  # fmt: skip
    one = stream_graph(ArraySource(flat[:, :9, :9]), tmp_path / "1.zarr", nodes_per_megapixel=NODES)
    assert (one.n_regions, one.n_edges) == (1, 0)
    assert load_graph(tmp_path / "1.zarr").edge_attr.shape == (0, 8)


def test_bad_arguments_are_refused_and_leave_nothing(tmp_path):
    source, out = ArraySource(pixels_of((1, 600, 600, 1))), tmp_path / "g.zarr"
    for y, x in ((slice(0, 600), slice(1, 256)), (slice(256, 256), slice(0, 600))):
        with pytest.raises(InputError, match="multiples of 256"):
            stream_graph(source, out, nodes_per_megapixel=NODES, roi=(slice(None), y, x))
    with pytest.raises(InputError, match="nodes_per_megapixel=0"):
        stream_graph(source, out, nodes_per_megapixel=0)
    with pytest.raises(InputError, match="16 rows"):
        plan_image(source, nodes_per_megapixel=NODES, block_zyx=(1, 24, 32))
    assert list(tmp_path.iterdir()) == []
