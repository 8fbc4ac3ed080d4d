"""A step may see a window of a graph."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from spixgraph.train.node_sample import Sample
from spixgraph.train.window import draw_window


@pytest.fixture
def lattice() -> Sample:
    """Superpixels on a lattice of 12 by 9, each with an own value and edges to its neighbours."""
    y, x = np.mgrid[:12, :9].reshape(2, -1)
    near = (abs(y[:, None] - y) + abs(x[:, None] - x)) == 1
    edges = np.stack(np.nonzero(near))
    n = torch.arange(len(y), dtype=torch.float32)[:, None]
    return Sample(
        x=n,
        edge_index=torch.from_numpy(edges),
        edge_attr=torch.from_numpy((edges[:1] * 1000 + edges[1:]).T.astype(np.float32)),
        target=n.expand(-1, 2),
        area=n[:, 0],
        pixels=n[:, None].half(),
        classes=n.to(torch.uint8),
        place=torch.from_numpy(np.stack([0 * y, y, x], 1).astype(np.float32)),
        own=None,
    )


def test_it_is_the_graph_between_its_superpixels(lattice):
    seen = draw_window(lattice, 20, np.random.default_rng(3))
    kept = seen.x[:, 0].long()
    assert len(kept) == 20
    assert seen.pixels is not None
    assert lattice.pixels is not None
    for ours, whole in (
        (seen.target, lattice.target),
        (seen.area, lattice.area),
        (seen.pixels, lattice.pixels),
        (seen.classes, lattice.classes),
        (seen.place, lattice.place),
    ):
        assert torch.equal(ours, whole[kept])
    inside = torch.isin(lattice.edge_index, kept).all(0)
    assert torch.equal(kept[seen.edge_index], lattice.edge_index[:, inside])
    assert torch.equal(seen.edge_attr, lattice.edge_attr[inside])


def test_it_is_compact_and_somewhere_else_each_time(lattice):
    rng = np.random.default_rng(0)
    windows = [draw_window(lattice, 25, rng) for _ in range(20)]
    assert all((w.place.amax(0) - w.place.amin(0)).max() <= 8 for w in windows)
    assert len({tuple(w.x[:, 0].tolist()) for w in windows}) > 5


def test_a_small_graph_is_seen_whole(lattice):
    assert draw_window(lattice, 108, np.random.default_rng(0)) is lattice


def test_it_lies_where_something_is_annotated(lattice):
    area = torch.zeros(108)
    area[-1] = 5
    rng = np.random.default_rng(0)
    for _ in range(10):
        assert draw_window(replace(lattice, area=area), 9, rng).area.max() == 5
