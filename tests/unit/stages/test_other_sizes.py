"""Further graphs of the training images, with more or fewer nodes."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from spixgraph.config.params import load_params
from spixgraph.errors import InputError
from spixgraph.graph.array_files import ArrayFile
from spixgraph.graph.stored_rows import StoredRows
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
from spixgraph.stages.training import fit_model, zooms_of
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


def test_factors_change_the_number_of_nodes_and_nothing_else(run, tmp_path):
    items = load_prepared(run).split("train")
    (usual,) = load_graphs(run, "rag", items)
    graphs, samples = make_graphs_of_other_sizes(run, items, tmp_path, factors=(0.5, 1.0, 2.0))
    fewer, same, more = graphs
    assert fewer.n_regions < usual.n_regions < more.n_regions
    np.testing.assert_array_equal(same.x[:], usual.x)
    np.testing.assert_array_equal(same.target, usual.target)
    assert [p.n_regions for p in samples] == [g.n_regions for g in graphs]
    areas = [pixels_per_class(g).sum(0) for g in graphs]
    np.testing.assert_allclose(areas[0], areas[2], rtol=1e-4)


def test_zooms_are_graphs_of_larger_and_smaller_images(run, tmp_path):
    items = load_prepared(run).split("train")
    (usual,) = load_graphs(run, "rag", items)
    graphs, samples = make_graphs_of_other_sizes(
        run, items, tmp_path, factors=(1.0,), zooms=(0.5, 1.0, 2.0)
    )
    same, smaller, also_same, larger = graphs
    for graph in (same, also_same):
        np.testing.assert_array_equal(graph.x[:], usual.x)
    assert smaller.n_regions < usual.n_regions < larger.n_regions
    assert [p.n_regions for p in samples] == [g.n_regions for g in graphs]
    area = pixels_per_class(usual).sum(0)
    for graph, times in ((smaller, 1 / 4), (larger, 4)):
        np.testing.assert_allclose(pixels_per_class(graph).sum(0), times * area, rtol=0.02)


def test_graphs_of_large_images_are_streamed_and_are_the_same(run, tmp_path, monkeypatch):
    items = load_prepared(run).split("train")
    make = partial(make_graphs_of_other_sizes, run, items, factors=(2.0,), zooms=(0.8,))
    graphs, samples = make(tmp_path)
    monkeypatch.setattr("spixgraph.stages.graphs._SMALL_PX", 0)
    (tmp_path / "large").mkdir()
    streamed_graphs, streamed_samples = make(tmp_path / "large")
    assert {type(graph.x) for graph in graphs} == {ArrayFile}
    assert {type(graph.x) for graph in streamed_graphs} == {StoredRows}
    for ours, theirs in zip(graphs, streamed_graphs, strict=True):
        for name in ("x", "centroid_px", "n_pixels", "edge_index", "edge_attr", "target"):
            np.testing.assert_array_equal(getattr(ours, name)[:], getattr(theirs, name)[:])
    for mine, others in zip(samples, streamed_samples, strict=True):
        np.testing.assert_array_equal(mine.values[:], others.values[:])
        np.testing.assert_array_equal(mine.classes[:], others.classes[:])


def fitted(run, **settings) -> TrainedNodeNet:
    """Train for an epoch."""
    small = {"hidden": 8, "layers": 1, "members": 1, "epochs": 1, "node_factors": (), "zooms": ()}
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


def test_training_learns_from_zoomed_images(run):
    def weights(**settings):
        return {n: value.numpy() for n, value in fitted(run, **settings).net.state_dict().items()}

    plain, zoomed = weights(zooms=()), weights(zooms=(0.8,))
    assert any((plain[name] != zoomed[name]).any() for name in plain)
    twice, also_twice = weights(zooms=(), node_factors=(1.0,)), weights(zooms=(1.0,))
    for name, value in twice.items():
        np.testing.assert_array_equal(value, also_twice[name])


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [((0.1, 0.11, 0.2), 0), ((0.1, 0.18, 0.1), 2), ((None, None, 0.1), 0), ((0.1, None, 0.2), 0)],
)
def test_auto_zooms_where_pixel_sizes_differ(run, sizes, wanted):
    settings = run.params.train.gnn
    assert len(zooms_of(settings, sized(run, sizes))) == wanted
    given = settings.model_copy(update={"zooms": (0.8,)})
    assert zooms_of(given, sized(run, sizes)) == (0.8,)


def test_volumes_are_not_zoomed(run):
    prepared = sized(run, (0.1, 0.2, 0.3)).model_copy(update={"n_dims": 3})
    assert zooms_of(run.params.train.gnn, prepared) == ()
    given = run.params.train.gnn.model_copy(update={"zooms": (0.8,)})
    with pytest.raises(InputError, match=r"several slices; set zooms: \[\]"):
        zooms_of(given, prepared)


def sized(run, sizes):
    """Give the images pixel sizes, those of train and val first."""
    prepared = load_prepared(run)
    items = sorted(prepared.items, key=lambda item: item.split == "test")
    given = [
        item.model_copy(update={"pixel_size_um": size and (size, size, size), "split": split})
        for item, size, split in zip(items, sizes, ("train", "val", "test"), strict=True)
    ]
    return prepared.model_copy(update={"items": tuple(given)})
