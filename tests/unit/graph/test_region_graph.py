import dataclasses
import json
import shutil

import numpy as np
import pytest

from spixgraph.errors import InputError, StoredDataError
from spixgraph.files import sha256_tree
from spixgraph.graph.region_graph import GraphSource, RegionGraph, load_graph, save_graph


def make_graph(n: int = 5, n_edges: int = 12, *, targets: bool = True, params=None) -> RegionGraph:
    rng = np.random.default_rng(n)
    return RegionGraph(
        x=rng.normal(size=(n, 3)).astype(np.float32),
        feature_names=("a", "b", "c"),
        centroid_px=rng.uniform(0, 50, (n, 3)),
        n_pixels=rng.integers(1, 99, n),
        edge_index=rng.integers(0, n, (2, n_edges)),
        edge_attr=rng.normal(size=(n_edges, 2)).astype(np.float32),
        edge_feature_names=("d", "e"),
        source=GraphSource("ab" * 32, (1, 40, 50), (1.0, 0.5, 0.5), params or {"k": 1, "b": 2}),
        target=rng.uniform(size=(n, 2)).astype(np.float32) if targets else None,
        annotated=np.ones(n, np.float32) if targets else None,
    )


def assert_equal_graphs(a: RegionGraph, b: RegionGraph) -> None:
    for field in dataclasses.fields(RegionGraph):
        left, right = getattr(a, field.name), getattr(b, field.name)
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)
        else:
            assert left == right


@pytest.mark.parametrize(("n", "n_edges"), [(1, 0), (5, 12), (70_001, 140_000)])
@pytest.mark.parametrize("targets", [True, False])
def test_round_trip(tmp_path, n, n_edges, targets):
    graph = make_graph(n, n_edges, targets=targets)
    save_graph(graph, tmp_path / "g.zarr")
    assert_equal_graphs(load_graph(tmp_path / "g.zarr"), graph)


def test_unknown_pixel_size_stays_unknown(tmp_path):
    graph = make_graph()
    source = dataclasses.replace(graph.source, pixel_size_um=None)
    save_graph(dataclasses.replace(graph, source=source), tmp_path / "g.zarr")
    assert load_graph(tmp_path / "g.zarr").source.pixel_size_um is None


def test_same_graph_same_bytes(tmp_path):
    save_graph(make_graph(params={"k": {"z": 1, "a": 2}, "b": 2}), tmp_path / "one")
    save_graph(make_graph(params={"b": 2, "k": {"a": 2, "z": 1}}), tmp_path / "two")
    assert sha256_tree(tmp_path / "one") == sha256_tree(tmp_path / "two")
    save_graph(make_graph(params={"b": 3}), tmp_path / "three")
    assert sha256_tree(tmp_path / "one") != sha256_tree(tmp_path / "three")


def test_saving_again_replaces_and_leaves_nothing_behind(tmp_path):
    save_graph(make_graph(9), tmp_path / "g.zarr")
    save_graph(make_graph(5, targets=False), tmp_path / "g.zarr")
    assert load_graph(tmp_path / "g.zarr").n_regions == 5
    assert [p.name for p in tmp_path.iterdir()] == ["g.zarr"]


def test_small_graphs_are_small_files(tmp_path):
    save_graph(make_graph(5, 12), tmp_path / "g.zarr")
    assert sum(p.stat().st_size for p in tmp_path.rglob("*") if p.is_file()) < 20_000


def edit_attributes(path, **changes):
    meta = json.loads((path / "zarr.json").read_text())
    meta["attributes"] |= changes
    meta["attributes"] = {k: v for k, v in meta["attributes"].items() if v != "gone"}
    (path / "zarr.json").write_text(json.dumps(meta))


def test_foreign_schema_is_refused(tmp_path):
    save_graph(make_graph(), tmp_path / "g.zarr")
    edit_attributes(tmp_path / "g.zarr", schema=99)
    with pytest.raises(StoredDataError, match="schema 99, this version reads 1"):
        load_graph(tmp_path / "g.zarr")


@pytest.mark.parametrize("attribute", ["feature_names", "image_sha256", "params"])
def test_missing_attribute_is_named(tmp_path, attribute):
    save_graph(make_graph(), tmp_path / "g.zarr")
    edit_attributes(tmp_path / "g.zarr", **{attribute: "gone"})
    with pytest.raises(StoredDataError, match=attribute):
        load_graph(tmp_path / "g.zarr")


def test_missing_array_is_named(tmp_path):
    save_graph(make_graph(), tmp_path / "g.zarr")
    shutil.rmtree(tmp_path / "g.zarr" / "edge_attr")
    with pytest.raises(StoredDataError, match="edge_attr"):
        load_graph(tmp_path / "g.zarr")


def test_target_without_annotated_is_refused(tmp_path):
    save_graph(make_graph(), tmp_path / "g.zarr")
    shutil.rmtree(tmp_path / "g.zarr" / "annotated")
    with pytest.raises(StoredDataError, match="belong together"):
        load_graph(tmp_path / "g.zarr")


def test_names_that_do_not_fit_are_refused(tmp_path):
    save_graph(make_graph(), tmp_path / "g.zarr")
    edit_attributes(tmp_path / "g.zarr", feature_names=["a"])
    with pytest.raises(StoredDataError, match="x must be"):
        load_graph(tmp_path / "g.zarr")


def test_no_path_and_no_group(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_graph(tmp_path / "none.zarr")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoredDataError, match="not a Zarr v3 group"):
        load_graph(tmp_path / "folder")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros((5, 3))}, "x must be"),
        ({"x": np.full((5, 3), np.nan, np.float32)}, "NaN"),
        ({"n_pixels": np.zeros(4, np.int64)}, "x must be"),
        ({"edge_index": np.full((2, 12), 5)}, "nodes 0..4"),
        ({"annotated": None}, "belong together"),
    ],
)
def test_inconsistent_graphs_cannot_be_made(change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(make_graph(), **change)
