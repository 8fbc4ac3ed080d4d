"""Further graphs of the training images, of changed parts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spixgraph.config.params import load_params
from spixgraph.io.phantoms import write_phantom_dataset
from spixgraph.stages.graphs import (
    make_changed_graphs,
    make_graphs,
    make_superpixels,
    open_graphs,
)
from spixgraph.stages.layout import Layout
from spixgraph.stages.prepare import load_prepared, prepare
from spixgraph.stages.run import Run
from spixgraph.stages.training import changed_of_each, fit_model
from spixgraph.train.node_sample import pixels_per_class
from spixgraph.train.node_training import TrainedNodeNet

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


def made(run, folder, *, n_each=4, seed=0, graphs=None):
    folder.mkdir()
    items = load_prepared(run).split("train")
    graphs = graphs or open_graphs(run, items)[0]
    return make_changed_graphs(run, items, graphs, folder, n_each=n_each, seed=seed)


def same(ours, theirs) -> bool:
    return all(
        np.array_equal(getattr(a, name)[:], getattr(b, name)[:])
        for a, b in zip(ours, theirs, strict=True)
        for name in ("x", "centroid_px", "n_pixels", "edge_index", "edge_attr", "target")
    )


def test_parts_differ_and_depend_on_the_seed_alone(run, tmp_path):
    graphs, samples = made(run, tmp_path / "a")
    (usual,), _ = open_graphs(run, load_prepared(run).split("train"))
    assert len({graph.n_regions for graph in graphs}) == len(graphs) == 4
    for graph, of_graph in zip(graphs, samples, strict=True):
        assert graph.n_regions == of_graph.n_regions
        assert graph.feature_names == usual.feature_names
        assert pixels_per_class(graph).sum() > 0
        assert 0.2 < graph.n_regions / usual.n_regions < 5
    assert same(graphs, made(run, tmp_path / "b")[0])
    assert same(graphs[:2], made(run, tmp_path / "c", n_each=2)[0])
    assert not same(graphs[:1], made(run, tmp_path / "d", n_each=1, seed=1)[0])


def test_images_without_annotation_have_no_parts(run, tmp_path):
    (usual,), _ = open_graphs(run, load_prepared(run).split("train"))
    nothing = replace(usual, annotated=np.zeros_like(usual.annotated))
    assert made(run, tmp_path / "a", graphs=[nothing]) == ([], [])


def fitted(run, **settings) -> TrainedNodeNet:
    """Train for an epoch."""
    small = {"hidden": 8, "layers": 1, "members": 1, "epochs": 1, "changed": 0}
    gnn = run.params.train.gnn.model_copy(update=small | settings)
    train = run.params.train.model_copy(update={"gnn": gnn})
    other = replace(run, params=run.params.model_copy(update={"train": train}))
    trained = fit_model(other, load_prepared(run), "gnn", 0)
    assert isinstance(trained, TrainedNodeNet)
    return trained


@pytest.mark.parametrize(("density", "wanted"), [(8000.0, 8), (1000.0, 0)])
def test_hidden_values_follow_the_size_of_superpixels(run, monkeypatch, density, wanted):
    recipe = run.params.recipe("rag").settled(density)
    monkeypatch.setattr("spixgraph.stages.training.recipe_for", lambda run, name: recipe)
    assert run.params.train.gnn.pixel_hidden == "auto"
    assert fitted(run).build["n_pixel_hidden"] == wanted


def test_training_learns_from_changed_parts(run):
    def weights(**settings):
        return {n: value.numpy() for n, value in fitted(run, **settings).net.state_dict().items()}

    plain, changed, again = weights(changed=0), weights(changed=2), weights(changed=2)
    assert any((plain[name] != changed[name]).any() for name in plain)
    for name, value in changed.items():
        np.testing.assert_array_equal(value, again[name])


@pytest.mark.parametrize(
    ("most", "n_images", "wanted"), [(8, 1, 8), (8, 12, 8), (8, 20, 4), (8, 500, 1), (0, 3, 0)]
)
def test_many_images_have_fewer_parts_each(most, n_images, wanted):
    assert changed_of_each(most, n_images) == wanted
