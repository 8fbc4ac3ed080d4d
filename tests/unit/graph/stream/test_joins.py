"""Contacts across barriers and directed edges against loops over pixels and pairs."""

from collections import defaultdict

import numpy as np
import pytest

from spixgraph.graph.stream.edges import NodeWindow, edges_to
from spixgraph.graph.stream.seams import face_contacts
from spixgraph.superpixels.basins.levels import TOP


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (7, 9), (60, 50)])
@pytest.mark.parametrize("n_labels", [1, 3, 200])
@pytest.mark.parametrize("first", [0, 2**40])
def test_facing_planes_match_a_loop(shape, n_labels, first):
    rng = np.random.default_rng(n_labels)
    a, b = rng.integers(0, n_labels, (2, *shape)).astype(np.uint16)
    g_a, g_b = rng.integers(0, 65535, (2, *shape)).astype(np.uint16)
    touches = defaultdict(list)
    for u, v, s, t in zip(a.flat, b.flat, g_a.flat, g_b.flat, strict=True):
        touches[first + int(u), first + n_labels + int(v)].append(max(int(s), int(t)))
    want = [[*pair, len(g), sum(g), max(g)] for pair, g in sorted(touches.items())]
    found = face_contacts(a, g_a, b, g_b, first, first + n_labels, n_labels)
    assert found.tolist() == want


@pytest.mark.parametrize("first", [0, 2**33])
def test_directed_edges_match_a_loop(first):
    rng = np.random.default_rng(3)
    n, n_channels = 40, 2
    pairs = sorted(
        {tuple(sorted(p)) for p in rng.integers(0, n, (150, 2)).tolist() if p[0] != p[1]}
    )
    contacts = np.array([[u, v, *rng.integers(1, 900, 3)] for u, v in pairs], np.int64)
    contacts = contacts[rng.permutation(len(contacts))]
    centroid, size = rng.random((n, 3)) * 99, rng.integers(1, 50, n)
    level = rng.random((n, n_channels))
    targets = range(first + 10, first + 25)
    kept = [*range(0, 5), *range(8, n)]  # a gap, as between strips that do not touch
    touched = [c for c in contacts if {c[0], c[1]} <= set(kept)]
    contacts = np.array(touched) + np.array([first, first, 0, 0, 0])
    nodes = NodeWindow(
        np.array([first, first + 8]),
        np.array([first + 5, first + n]),
        centroid[kept],
        size[kept],
        level[kept],
    )
    found = edges_to(contacts, targets, nodes, (0.5, 0.1, 0.2))
    rows: list[list[float]] = []
    contrast = np.zeros((len(targets), n_channels))
    for i, target in enumerate(targets):
        around = sorted((int(u + v - target), length, total, top)
                        for u, v, length, total, top in contacts if target in (u, v))  # fmt: skip
        assert found.first[i] == len(rows)
        for source, length, total, top in around:
            u, v = source - first, target - first
            rows.append([source, target, np.log(length), total / length / (2 * TOP),
                         top / (2 * TOP), *((centroid[v] - centroid[u]) * [0.5, 0.1, 0.2]),
                         np.log(size[v] / size[u]), *(level[v] - level[u])])  # fmt: skip
        if around:
            weights = [row[1] for row in around]
            mean = np.average([level[row[0] - first] for row in around], axis=0, weights=weights)
            contrast[i] = level[target - first] - mean
    want = np.array(rows)
    np.testing.assert_array_equal(found.edge_index, want[:, :2].T)
    np.testing.assert_allclose(found.edge_attr, want[:, 2:], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.contrast, contrast, rtol=1e-5, atol=1e-6)
    assert found.first[-1] == len(rows)
