"""How many hidden values of a pixel there are, and what they are good for."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from spixgraph.config.params import NodeTraining
from spixgraph.graph.pixel_samples import PixelSamples
from spixgraph.graph.region_graph import RegionGraph
from spixgraph.train.hidden_values import hidden_values
from spixgraph.train.node_training import train_node_net
from tests.unit.train.test_pixel_training import toy


@pytest.mark.parametrize(
    ("asked", "nodes_per_megapixel", "wanted"),
    [("auto", 8000.0, 8), ("auto", 3700.0, 8), ("auto", 2300.0, 0), (3, 1000.0, 3), (0, 8000.0, 0)],
)
def test_auto_is_for_small_superpixels(asked, nodes_per_megapixel, wanted):
    assert hidden_values(asked, nodes_per_megapixel=nodes_per_megapixel) == wanted


def of_both_ends(seed: int) -> tuple[RegionGraph, PixelSamples]:
    """Dark and bright pixels are one class, those between the other: no line parts them."""
    graph, pixels = toy(seed)
    classes = (np.abs(pixels.values[..., 0].astype(np.float32)) > 0.67).astype(np.uint8)
    share = classes.mean(1)
    target = np.stack([1 - share, share], 1).astype(np.float32)
    return replace(graph, target=target), replace(pixels, classes=classes)


def test_hidden_values_part_what_no_line_does():
    pairs, val = [of_both_ends(seed) for seed in range(2)], of_both_ends(10)
    params = NodeTraining(hidden=16, layers=1, epochs=12, learning_rate=1e-2)
    scores = {}
    for n in (0, 8):
        trained = train_node_net(
            "gnn", [g for g, _ in pairs], [val[0]], params,
            samples=([p for _, p in pairs], [val[1]]),
            pixel_hidden=n, seed=0, device=torch.device("cpu"),
        )  # fmt: skip
        assert trained.build["n_pixel_hidden"] == n
        scores[n] = trained.history[trained.best_epoch - 1].macro_iou
    assert scores[0] < 0.6
    assert scores[8] > 0.8
