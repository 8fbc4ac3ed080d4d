"""The streamed graph against the superpixels and contacts of the whole image, and the law."""

import numpy as np
import pytest
import tifffile
import zarr
from click.testing import CliRunner

from spixgraph.cli.graph import graph as graph_command
from spixgraph.cli.graph import parse_bytes, parse_roi
from spixgraph.errors import InputError, ResourceError
from spixgraph.files import sha256_tree
from spixgraph.graph.adjacency import region_contacts
from spixgraph.graph.engine import stream_graph
from spixgraph.graph.engine_block import FEATURE_HALO_PX
from spixgraph.graph.engine_store import LabelWriter
from spixgraph.graph.region_graph import load_graph
from spixgraph.io.images import ArraySource, image_sha256
from spixgraph.io.limits import intensity_limits, read_scaled
from spixgraph.superpixels.basins import basin_labels
from tests.unit.superpixels.test_basins import smooth_noise

ALL = (slice(None), slice(None), slice(None))
NODES = 5000  # barrier blocks of 256 px


def pixels_of(shape, dtype):
    image = smooth_noise(shape) + np.random.default_rng(1).normal(0, 0.02, shape)
    top = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    return (image.clip(0, 1) * top).astype(dtype)


def stored_labels(path):
    return np.asarray(zarr.open_array(path / "labels", mode="r")[...])


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((1, 300, 530, 1), np.uint8),
        ((1, 513, 257, 3), np.uint16),
        ((1, 259, 301, 2), np.float32),
        ((1, 3, 700, 1), np.uint8),
    ],
)
def test_streamed_graph_is_that_of_the_whole_image(tmp_path, shape, dtype):
    source = ArraySource(pixels_of(shape, dtype), (1.0, 0.5, 0.5))
    done = stream_graph(source, tmp_path / "g.zarr", nodes_per_megapixel=NODES, workers=2)
    image = read_scaled(source, intensity_limits(source), *ALL)
    labels = basin_labels(image, nodes_per_megapixel=NODES)
    found = load_graph(tmp_path / "g.zarr")
    np.testing.assert_array_equal(stored_labels(tmp_path / "g.zarr"), labels)
    assert done.n_regions == found.n_regions == labels.max() + 1
    assert done.n_edges == found.edge_index.shape[1]
    np.testing.assert_array_equal(found.n_pixels, np.bincount(labels.flat))
    contacts = region_contacts(labels, np.zeros(labels.shape, np.float32))
    both = np.concatenate([contacts.pairs, contacts.pairs[::-1]], axis=1)
    order = np.lexsort(both)
    np.testing.assert_array_equal(found.edge_index, both[:, order])
    length = np.tile(contacts.length_px, 2)[order]
    np.testing.assert_allclose(found.edge_attr[:, 0], np.log(length), rtol=1e-6)
    assert found.source.image_sha256 == image_sha256(source)
    assert found.source.pixel_size_um == (1.0, 0.5, 0.5)


def test_node_and_edge_features_match_numpy(tmp_path):
    source = ArraySource(pixels_of((1, 280, 300, 2), np.uint8))
    stream_graph(source, tmp_path / "g.zarr", nodes_per_megapixel=NODES)
    found, labels = load_graph(tmp_path / "g.zarr"), stored_labels(tmp_path / "g.zarr")[0]
    image = read_scaled(source, intensity_limits(source), *ALL)[0]
    column = dict(zip(found.feature_names, found.x.T, strict=True))
    y, x = np.indices(labels.shape)
    on_border = (y == 0) | (y == 279) | (x == 0) | (x == 299)
    for i in range(0, found.n_regions, 37):
        inside = labels == i
        for c in range(2):
            values = image[inside][:, c].astype(np.float64)
            assert column[f"c{c}_intensity_mean"][i] == pytest.approx(values.mean(), abs=1e-4)
            assert column[f"c{c}_intensity_std"][i] == pytest.approx(values.std(), abs=1e-4)
            assert abs(column[f"c{c}_decile_5"][i] - np.median(values)) < 2.5 / 64
        assert column["border"][i] == pytest.approx(on_border[inside].mean())
        np.testing.assert_allclose(found.centroid_px[i], [0, y[inside].mean(), x[inside].mean()])
    u, v = found.edge_index
    unit = (1e6 / NODES) ** 0.5
    np.testing.assert_allclose(
        found.edge_attr[:, 2:5], (found.centroid_px[v] - found.centroid_px[u]) / unit, atol=1e-6
    )
    contrast = column["c1_intensity_mean"][v] - column["c1_intensity_mean"][u]
    np.testing.assert_allclose(found.edge_attr[:, -1], contrast, atol=1e-6)
    assert (found.edge_attr[:, 1] >= 0).all()


def test_a_ramp_has_its_slope_in_every_octave_and_no_band(tmp_path):
    ramp = np.broadcast_to(np.arange(400, dtype=np.uint16)[:, None], (400, 400))[None, ..., None]
    stream_graph(ArraySource(ramp), tmp_path / "g.zarr", nodes_per_megapixel=NODES)
    found = load_graph(tmp_path / "g.zarr")
    inside = (found.centroid_px[:, 1] > 60) & (found.centroid_px[:, 1] < 340)
    column = dict(zip(found.feature_names, found.x[inside].T, strict=True))
    assert inside.any()
    for octave in range(3):
        slope = 2**octave / 399
        np.testing.assert_allclose(column[f"gradient_{octave}_mean"], slope, rtol=0.02)
        np.testing.assert_allclose(column[f"band_{octave}_mean"], 0, atol=1e-4)


def test_bytes_do_not_depend_on_workers(tmp_path):
    source = ArraySource(pixels_of((1, 530, 600, 2), np.uint8))
    hashes = set()
    for workers in (1, 2, 4):
        out = tmp_path / f"{workers}.zarr"
        stream_graph(source, out, nodes_per_megapixel=NODES, workers=workers)
        hashes.add(sha256_tree(out))
    assert len(hashes) == 1


@pytest.mark.parametrize(
    "roi", [(slice(256, 512), slice(0, 256)), (slice(256, 700), slice(256, 601))]
)
def test_a_region_of_interest_is_a_part_of_the_whole(tmp_path, roi):
    source = ArraySource(pixels_of((1, 700, 601, 1), np.uint8))
    stream_graph(source, tmp_path / "all.zarr", nodes_per_megapixel=NODES)
    stream_graph(source, tmp_path / "roi.zarr", nodes_per_megapixel=NODES, roi=roi)
    whole, part = load_graph(tmp_path / "all.zarr"), load_graph(tmp_path / "roi.zarr")
    ids, inverse = np.unique(stored_labels(tmp_path / "all.zarr")[0][roi], return_inverse=True)
    np.testing.assert_array_equal(stored_labels(tmp_path / "roi.zarr")[0], inverse)
    np.testing.assert_array_equal(part.x, whole.x[ids])
    np.testing.assert_array_equal(part.centroid_px, whole.centroid_px[ids])
    within = np.isin(whole.edge_index, ids).all(axis=0)
    wanted = np.searchsorted(ids, whole.edge_index[:, within])
    np.testing.assert_array_equal(part.edge_index, wanted)
    np.testing.assert_array_equal(part.edge_attr, whole.edge_attr[within])


class CountingSource(ArraySource):
    """Counts how often each pixel is read."""

    def __init__(self, pixels):
        super().__init__(pixels)
        self.reads: list[tuple[slice, slice, slice]] = []

    def read(self, z, y, x):
        self.reads.append((z, y, x))
        return super().read(z, y, x)


def test_the_graph_pass_reads_every_row_once(tmp_path, monkeypatch):
    source = CountingSource(pixels_of((1, 900, 300, 1), np.uint8))

    def forget(*args):
        source.reads.clear()
        return "hash"

    monkeypatch.setattr("spixgraph.graph.engine.image_sha256", forget)
    stream_graph(source, tmp_path / "g.zarr", nodes_per_megapixel=NODES, workers=3)
    hits = np.zeros(900, int)
    for _, y, x in source.reads:
        assert (x.start, x.stop) == (0, 300)
        hits[y] += 1
    assert (hits == 1).all()
    assert len(source.reads) == 4
    assert source.reads[0][1] == slice(0, 256 + FEATURE_HALO_PX)


def test_a_flat_image_has_one_node_per_block(tmp_path):
    flat = np.zeros((1, 300, 300, 1), np.uint8)
    stream_graph(ArraySource(flat), tmp_path / "g.zarr", nodes_per_megapixel=NODES)
    found = load_graph(tmp_path / "g.zarr")
    assert found.n_regions == 4
    assert found.edge_index.T.tolist() == [
        [1, 0], [2, 0], [0, 1], [3, 1], [0, 2], [3, 2], [1, 3], [2, 3],
    ]  # fmt: skip
    stream_graph(ArraySource(flat[:, :9, :9]), tmp_path / "one.zarr", nodes_per_megapixel=NODES)
    one = load_graph(tmp_path / "one.zarr")
    assert (one.n_regions, one.edge_index.shape, one.edge_attr.shape) == (1, (2, 0), (0, 7))


def test_what_does_not_work_is_refused_and_leaves_nothing(tmp_path):
    out = tmp_path / "g.zarr"
    pixels = pixels_of((1, 600, 600, 1), np.uint8)
    with pytest.raises(InputError, match="3 slices"):
        stream_graph(ArraySource(pixels_of((3, 9, 9, 1), np.uint8)), out, nodes_per_megapixel=NODES)
    for roi in [(slice(0, 600), slice(1, 256)), (slice(256, 256), slice(0, 600))]:
        with pytest.raises(InputError, match="multiples of 256"):
            stream_graph(ArraySource(pixels), out, nodes_per_megapixel=NODES, roi=roi)
    with pytest.raises(ResourceError, match="allows 1 MiB"):
        stream_graph(ArraySource(pixels), out, nodes_per_megapixel=NODES, max_bytes=1 << 20)

    class Broken(CountingSource):
        def read(self, z, y, x):
            if (y.stop or 0) == 600 and (y.start or 0) > 500:
                raise OSError("truncated")
            return super().read(z, y, x)

    with pytest.raises(OSError, match="truncated"):
        stream_graph(Broken(pixels), out, nodes_per_megapixel=NODES, workers=2)
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_a_graph(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", pixels_of((1, 300, 530, 1), np.uint8)[0, ..., 0])
    out = tmp_path / "g.zarr"
    arguments = [str(tmp_path / "a.tif"), str(out), "--nodes-per-megapixel", str(NODES)]
    done = CliRunner().invoke(
        graph_command, [*arguments, "--roi", "0:256,256:530", "--max-memory", "2GB"]
    )
    assert done.exit_code == 0, done.output
    assert "superpixels" in done.output
    assert load_graph(out).source.shape_zyx == (1, 256, 274)
    bad = CliRunner().invoke(graph_command, [arguments[0], str(tmp_path / "g.npz")])
    assert isinstance(bad.exception, InputError)


def test_sizes_and_regions_are_parsed():
    assert parse_bytes("2GB") == 2 * 10**9
    assert parse_bytes("1.5 MiB") == 1.5 * 2**20
    assert parse_bytes("1000") == 1000
    assert parse_roi("0:256, 512:1024") == (slice(0, 256), slice(512, 1024))
    for bad in ("", "2 parsecs"):
        with pytest.raises(InputError, match="not a size"):
            parse_bytes(bad)
    with pytest.raises(InputError, match="Y0:Y1"):
        parse_roi("256")


@pytest.mark.parametrize(("shape", "first"), [((40, 50), 70_000), ((100_000, 100_000), 2**40)])
def test_ids_of_large_images_fit(tmp_path, shape, first):
    group = zarr.create_group(tmp_path / "g.zarr")
    writer = LabelWriter(tmp_path / "g.zarr", group, shape, 32)
    local = np.arange(8 * 18, dtype=np.uint16).reshape(8, 18)
    writer.write(local, first, 1, 1)
    stored = zarr.open_array(tmp_path / "g.zarr" / "labels", mode="r")
    np.testing.assert_array_equal(stored[0, 32:40, 32:50], local.astype(np.int64) + first)
    assert stored.dtype == (np.int64 if first > 2**31 else np.int32)
