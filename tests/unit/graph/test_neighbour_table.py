import numpy as np
import pytest

from spixgraph.errors import InputError
from spixgraph.graph.neighbour_table import NeighbourTable, neighbour_table


def aggregate(table: NeighbourTable, messages: np.ndarray) -> np.ndarray:
    """Sum per-edge messages as the exported network does."""
    zero = np.zeros((1, messages.shape[1]))
    row_sum = np.concatenate([messages, zero])[table.slot].sum(1)
    hub_sum = np.concatenate([row_sum, zero])[table.hub].sum(1)
    return row_sum[: len(table.degree)] + np.concatenate([hub_sum, zero])[table.hub_of_node]


def segment_sum(edge_index: np.ndarray, n: int, messages: np.ndarray) -> np.ndarray:
    out = np.zeros((n, messages.shape[1]))
    np.add.at(out, edge_index[1], messages)
    return out


def random_edges(n: int, n_edges: int, hub_degree: int = 0) -> np.ndarray:
    rng = np.random.default_rng(n + n_edges)
    edges = rng.integers(0, n, (2, n_edges))
    hub = np.stack([rng.integers(0, n, hub_degree), np.full(hub_degree, n // 2)])
    return np.concatenate([edges, hub], axis=1).astype(np.int64)


CASES = {
    "one node": (1, random_edges(1, 0)),
    "no edges": (7, random_edges(7, 0)),
    "self loops": (1, random_edges(1, 20)),
    "isolated nodes": (50, random_edges(9, 30)),
    "exactly the width": (3, np.stack([np.zeros(8), np.ones(8)]).astype(np.int64)),
    "one more than the width": (3, np.stack([np.zeros(9), np.ones(9)]).astype(np.int64)),
    "dense": (40, random_edges(40, 900)),
    "a hub of 1000": (300, random_edges(300, 1500, 1000)),
}


@pytest.mark.parametrize("width", [1, 3, 8])
@pytest.mark.parametrize("name", CASES)
def test_sums_equal_the_segment_sum(name, width):
    n, edges = CASES[name]
    messages = np.random.default_rng(0).normal(size=(edges.shape[1], 3))
    table = neighbour_table(edges, n, width=width)
    got = aggregate(table, messages)
    np.testing.assert_allclose(got, segment_sum(edges, n, messages), atol=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_every_edge_is_there_once_and_in_its_row(name):
    n, edges = CASES[name]
    table = neighbour_table(edges, n)
    n_edges, n_rows = edges.shape[1], len(table.owner)
    rows, columns = np.nonzero(table.slot != n_edges)
    slots = table.slot[rows, columns]
    assert sorted(slots) == list(range(n_edges))
    np.testing.assert_array_equal(table.nbr[rows, columns], edges[0][slots])
    np.testing.assert_array_equal(table.owner[rows], edges[1][slots])
    assert (table.nbr[table.slot == n_edges] == n).all()
    surplus = np.sort(table.hub[table.hub < n_rows])
    np.testing.assert_array_equal(surplus, np.arange(n, n_rows))


def test_shapes_and_sentinels_without_hubs():
    table = neighbour_table(np.zeros((2, 0), np.int64), 2)
    assert list(table.as_inputs()) == ["nbr", "slot", "owner", "hub", "hub_of_node", "degree"]
    assert table.nbr.tolist() == [[2] * 8] * 2
    assert table.slot.tolist() == [[0] * 8] * 2
    assert table.owner.tolist() == [0, 1]
    assert table.hub.tolist() == [[2]]
    assert table.hub_of_node.tolist() == [1, 1]
    assert table.degree.tolist() == [1.0, 1.0]


def test_surplus_rows_drawn_by_hand():
    edges = np.array([[0, 1, 2, 3, 0], [1, 1, 1, 1, 2]])
    table = neighbour_table(edges, 4, width=2)
    assert table.nbr.tolist() == [[4, 4], [0, 1], [0, 4], [4, 4], [2, 3]]
    assert table.slot.tolist() == [[5, 5], [0, 1], [4, 5], [5, 5], [2, 3]]
    assert table.owner.tolist() == [0, 1, 2, 3, 1]
    assert table.hub.tolist() == [[4]]
    assert table.hub_of_node.tolist() == [1, 0, 1, 1]
    assert table.degree.tolist() == [1.0, 4.0, 1.0, 1.0]


def test_dtypes():
    table = neighbour_table(random_edges(20, 100), 20)
    wanted = {name: np.dtype(np.int64) for name in table.as_inputs()} | {
        "degree": np.dtype(np.float32)
    }
    assert {name: array.dtype for name, array in table.as_inputs().items()} == wanted


@pytest.mark.parametrize(
    ("edges", "n", "width"),
    [
        (np.zeros((2, 3), np.int32), 1, 8),
        (np.zeros((3, 3), np.int64), 1, 8),
        (np.zeros((2, 3), np.int64), 0, 8),
        (np.zeros((2, 3), np.int64), 1, 0),
        (np.full((2, 3), 5, np.int64), 5, 8),
        (np.full((2, 3), -1, np.int64), 5, 8),
    ],
)
def test_bad_input_is_refused(edges, n, width):
    with pytest.raises(InputError):
        neighbour_table(edges, n, width=width)
