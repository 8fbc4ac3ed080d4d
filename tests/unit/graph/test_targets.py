import numpy as np

from spixgraph.graph.targets import class_fractions


def test_fractions_by_hand():
    labels = np.array([[[0, 0, 1, 1], [0, 0, 2, 2]]], np.int32)
    mask = np.array([[[0, 1, 255, 255], [1, 1, 2, 255]]], np.uint8)
    target, annotated = class_fractions(labels, mask, 4, 3)
    assert target.tolist() == [[0.25, 0.75, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert annotated.tolist() == [1, 0, 0.5, 0]
    assert target.dtype == annotated.dtype == np.float32


def test_rows_add_up_to_one_where_annotated():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 40, (3, 10, 10)).astype(np.int32)
    mask = rng.choice([0, 1, 2, 255], (3, 10, 10), p=[0.1, 0.1, 0.1, 0.7]).astype(np.uint8)
    target, annotated = class_fractions(labels, mask, 40, 3)
    np.testing.assert_allclose(target.sum(1), annotated > 0, atol=1e-6)
