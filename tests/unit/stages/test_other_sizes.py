"""Further graphs of the training images, with more or fewer nodes."""

from pathlib import Path

import numpy as np
import pytest

from spixgraph.config.params import load_params
from spixgraph.io.phantoms import write_phantom_dataset
from spixgraph.stages.graphs import (
    load_graphs,
    make_graphs,
    make_graphs_of_other_sizes,
    make_superpixels,
)
from spixgraph.stages.layout import Layout
from spixgraph.stages.prepare import load_prepared, prepare
from spixgraph.stages.run import Run
from spixgraph.train.node_sample import pixels_per_class

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("run")
    write_phantom_dataset(root / "d", kind="colonies", shape_zyx=(1, 128, 128), n_images=3, seed=0)
    run = Run(Layout(root / "w"), root / "d", load_params(REPOSITORY / "params.yaml"))
    prepare(run)
    make_superpixels(run, "rag")
    make_graphs(run, "rag")
    return run


def test_factors_change_the_number_of_nodes_and_nothing_else(run, tmp_path):
    items = load_prepared(run).split("train")
    (usual,) = load_graphs(run, "rag", items)
    graphs, samples = make_graphs_of_other_sizes(run, items, (0.5, 1.0, 2.0), tmp_path)
    fewer, same, more = graphs
    assert fewer.n_regions < usual.n_regions < more.n_regions
    np.testing.assert_array_equal(same.x[:], usual.x)
    np.testing.assert_array_equal(same.target, usual.target)
    assert [p.n_regions for p in samples] == [g.n_regions for g in graphs]
    areas = [pixels_per_class(g).sum(0) for g in graphs]
    np.testing.assert_allclose(areas[0], areas[2], rtol=1e-4)
