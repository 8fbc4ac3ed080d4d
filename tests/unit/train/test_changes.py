from dataclasses import replace

import numpy as np
import pytest
import torch

from spixgraph.graph.augment import draw_view
from spixgraph.graph.image_scaling import Scalings
from spixgraph.graph.scaling import Scaling
from spixgraph.train.changes import Changes
from spixgraph.train.node_sample import Sample

NAMES = ("c0_mean", "c0_intensity", "place_y", "place_x", "c0_place_yy", "c0_place_xx")


@pytest.mark.parametrize("seed", range(8))
def test_nodes_edges_and_pixels_are_changed_by_one_view(seed):
    rng = np.random.default_rng(seed)
    scaling = Scaling(
        NAMES,
        rng.normal(size=len(NAMES)).astype(np.float32),
        rng.uniform(0.5, 2, len(NAMES)).astype(np.float32),
    )
    values = rng.normal(size=(9, 5, len(NAMES))).astype(np.float32)
    table = torch.from_numpy(values[:, 0].copy())
    sample = Sample(
        x=table,
        edge_index=torch.zeros((2, 9), dtype=torch.int64),
        edge_attr=table,
        target=torch.zeros(9, 2),
        area=torch.zeros(9),
        pixels=torch.from_numpy(values),
        classes=torch.zeros((9, 5), dtype=torch.uint8),
        place=torch.zeros(9, 3),
        own=None,
    )
    view = draw_view(rng)
    changes = Changes(view, Scalings(scaling, scaling, scaling), None, torch.zeros(()))
    seen = changes.on(sample, torch.zeros_like(table))
    wanted = view.on(scaling).apply(values)
    assert np.abs(wanted - values).max() > 0.1
    assert seen.pixels is not None
    np.testing.assert_allclose(seen.pixels.numpy(), wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(seen.x.numpy(), wanted[:, 0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(seen.edge_attr.numpy(), wanted[:, 0], rtol=1e-5, atol=1e-5)
    noisy = replace(changes, noise=0.5).on(sample, torch.ones_like(table))
    np.testing.assert_allclose(noisy.x.numpy(), seen.x.numpy() + 0.5, rtol=1e-5, atol=1e-5)
    assert noisy.pixels is not None
    assert torch.equal(noisy.pixels, seen.pixels)
    assert torch.equal(noisy.edge_attr, seen.edge_attr)
