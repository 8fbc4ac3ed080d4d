"""Parts of a graph give what the whole gives."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from spixgraph.errors import InputError, ResourceError
from spixgraph.graph import partitions as module
from spixgraph.graph.partitions import BlockIds, EdgesByTarget, partitions, take_rows
from spixgraph.predict.onnx_predictor import OnnxPredictor
from tests.toy_bundle import write_toy_onnx
from tests.toy_graphs import random_arrays, random_edges

GRIDS = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))


@st.composite
def blocked_graphs(draw):
    """Edges sorted by target, some nodes without any, and nodes dealt out to blocks."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    grid = draw(GRIDS)
    n = draw(st.integers(1, 60))
    cuts = np.sort(rng.integers(0, n + 1, int(np.prod(grid)) - 1))
    first = np.concatenate([[0], cuts, [n]]).astype(np.int64)
    return random_edges(rng, n, draw(st.integers(0, 3 * n))), BlockIds(grid, first, (1, 2, 2)), n


def slow_part(edges, core, n_layers):
    """Nodes within reach of a core, and the rows of the edges that matter, one hop at a time."""
    nodes, rows = set(core.tolist()), []
    for _ in range(n_layers):
        rows = [i for i, target in enumerate(edges[1].tolist()) if target in nodes]
        nodes |= {int(edges[0, i]) for i in rows}
    return sorted(nodes), rows


@settings(max_examples=150, deadline=None)
@given(blocked_graphs(), st.integers(0, 4), st.integers(1, 60), st.sampled_from([1, 3, 1000]))
def test_parts_are_those_of_the_slow_twin(drawn, n_layers, max_nodes, chunk_rows):
    edges, blocks, n = drawn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK_ROWS", chunk_rows)
        patch.setattr(module, "_CACHED_CHUNKS", 2)
        cores = []
        try:
            for part in partitions(
                EdgesByTarget(edges), blocks, n_layers=n_layers, max_nodes=max_nodes
            ):
                nodes, rows = slow_part(edges, part.core_ids, n_layers)
                assert part.nodes.tolist() == nodes
                assert part.edge_rows.tolist() == rows
                assert len(nodes) <= max_nodes
                np.testing.assert_array_equal(part.nodes[part.edge_index], edges[:, rows])
                cores.append(part.core_ids)
        except ResourceError:
            sizes = [len(slow_part(edges, np.arange(a, b), n_layers)[0])
                     for a, b in zip(blocks.first[:-1], blocks.first[1:], strict=True)]  # fmt: skip
            assert max(sizes) > max_nodes
            return
    np.testing.assert_array_equal(np.sort(np.concatenate(cores)), np.arange(n))


def grid_graph(side, rng):
    """A `side` x `side` grid of nodes in blocks of 8 x 8, numbered by block; edges both ways."""
    y, x = np.divmod(np.arange(side * side), side)
    order = np.lexsort([x, y, x // 8, y // 8])
    number = np.empty(side * side, np.int64)
    number[order] = np.arange(side * side)
    number = number.reshape(side, side)
    pairs = [(number[:, :-1], number[:, 1:]), (number[:-1], number[1:]),
             (number[:-1, 1:], number[1:, :-1])]  # fmt: skip
    edges = np.concatenate([np.stack([a.ravel(), b.ravel()]) for a, b in pairs], axis=1)
    edges = np.concatenate([edges, edges[::-1]], axis=1)
    edges = edges[:, np.lexsort(edges)]
    block = (y // 8 * (side // 8) + x // 8)[order]
    first = np.searchsorted(block, np.arange((side // 8) ** 2 + 1)).astype(np.int64)
    return edges, BlockIds((1, side // 8, side // 8), first, (1.0, 8.0, 8.0))


def partitioned_logits(predictor, tables, blocks, **limits):
    x, edges, edge_attr = tables
    logits, n_parts = np.full((x.shape[0], 2), np.nan, np.float32), 0
    for part in partitions(EdgesByTarget(edges), blocks, **limits):
        found = predictor(
            take_rows(x, part.nodes), part.edge_index, take_rows(edge_attr, part.edge_rows)
        )
        logits[part.core_ids] = found[part.core]
        n_parts += 1
    return logits, n_parts


@pytest.fixture(scope="module")
def gnn_8(tmp_path_factory) -> Path:
    """An exported network of 8 layers with random weights."""
    torch = pytest.importorskip("torch")
    from spixgraph.export.onnx_export import export_onnx
    from spixgraph.nets.build import build_node_net

    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    torch.manual_seed(0)
    sizes = {"n_features": 5, "n_edge_features": 3, "n_classes": 2, "hidden": 16, "layers": 8}
    net = build_node_net("gnn", **sizes, dropout=0.0)
    for values in net.parameters():  # a fresh network does not look at neighbours
        torch.nn.init.normal_(values, std=0.3)
    export_onnx(net, path)
    return path


@pytest.mark.parametrize("stored", [False, True], ids=["memory", "zarr"])
def test_logits_of_the_cores_are_those_of_the_whole_graph(tmp_path, gnn_8, stored):
    rng = np.random.default_rng(0)
    edges, blocks = grid_graph(64, rng)
    x, attr = random_arrays(rng, 64 * 64, edges.shape[1], features=5, edge_features=3)
    predictor = OnnxPredictor(gnn_8, device="cpu", threads=1)
    whole = predictor(x, edges, attr)
    tables: Any = (x, edges, attr)
    if stored:
        group = zarr.create_group(tmp_path / "g.zarr")
        for name, array, chunks in zip("xea", tables, [(300, 5), (2, 1000), (700, 3)], strict=True):
            group.create_array(name, data=array, chunks=chunks)
        tables = tuple(group[name] for name in "xea")
    logits, n_parts = partitioned_logits(predictor, tables, blocks, n_layers=8, max_nodes=1500)
    assert n_parts > 4
    np.testing.assert_allclose(logits, whole, atol=1e-5 * np.abs(whole).max())
    short, _ = partitioned_logits(predictor, tables, blocks, n_layers=2, max_nodes=1500)
    assert np.abs(short - whole).max() > 1e-3  # the halo is needed


def test_logits_of_a_bundle_without_torch(tmp_path):
    rng = np.random.default_rng(1)
    edges, blocks = grid_graph(32, rng)
    x, attr = random_arrays(rng, 32 * 32, edges.shape[1], features=4, edge_features=2)
    write_toy_onnx(tmp_path / "model.onnx", 4, 2)
    predictor = OnnxPredictor(tmp_path / "model.onnx", device="cpu", threads=1)
    logits, n_parts = partitioned_logits(
        predictor, (x, edges, attr), blocks, n_layers=1, max_nodes=200
    )
    assert n_parts > 4
    np.testing.assert_allclose(logits, predictor(x, edges, attr), atol=1e-5)


def test_only_chunks_of_the_part_are_read():
    class Counting:
        def __init__(self, array):
            self.array, self.shape, self.chunks, self.read = array, array.shape, (2, 64), []

        def __getitem__(self, index):
            self.read.append(index[1].start)
            return self.array[index]

    edges, blocks = grid_graph(64, np.random.default_rng(0))
    counting = Counting(edges)
    table = EdgesByTarget(counting)
    assert len(counting.read) == -(-edges.shape[1] // 64)  # once, to learn where targets begin
    counting.read.clear()
    next(partitions(table, blocks, n_layers=1, max_nodes=200))
    assert 0 < len(set(counting.read)) < 30


def test_graph_that_fits_is_one_part_without_halo():
    edges, blocks = grid_graph(16, np.random.default_rng(0))
    (part,) = partitions(EdgesByTarget(edges), blocks, n_layers=3, max_nodes=256)
    np.testing.assert_array_equal(part.core_ids, np.arange(256))
    np.testing.assert_array_equal(part.edge_index, edges)


def test_graph_without_blocks_is_one_part_or_refused():
    edges = random_edges(np.random.default_rng(0), 10, 20)
    (part,) = partitions(EdgesByTarget(edges), BlockIds.single(10), n_layers=1, max_nodes=10)
    np.testing.assert_array_equal(part.edge_index, edges)
    with pytest.raises(ResourceError, match=r"block of 10 superpixels.*more than 9.*allow more"):
        list(partitions(EdgesByTarget(edges), BlockIds.single(10), n_layers=1, max_nodes=9))


def test_bad_arguments_are_refused():
    edges = EdgesByTarget(np.zeros((2, 0), np.int64))
    blocks = BlockIds.single(1)
    with pytest.raises(InputError, match="n_layers=-1"):
        list(partitions(edges, blocks, n_layers=-1, max_nodes=1))
    with pytest.raises(InputError, match="max_nodes=0"):
        list(partitions(edges, blocks, n_layers=0, max_nodes=0))
    with pytest.raises(InputError, match="rising ids"):
        BlockIds((1, 1, 2), np.array([0, 3, 2], np.int64), (1.0, 1.0, 1.0))
