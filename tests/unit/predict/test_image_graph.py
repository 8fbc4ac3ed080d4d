import numpy as np
import pytest

from spixgraph.config.recipe import BasinParams, GraphRecipe, PaperParams, RagParams, SlicParams
from spixgraph.io.images import ArraySource, image_sha256
from spixgraph.predict.image_graph import (
    graph_of_image,
    graph_of_labels,
    labels_of_image,
    wanted_segments,
)
from spixgraph.predict.steps import Steps
from tests.toy_bundle import BASINS, RECIPE, blob_image


@pytest.mark.parametrize("recipe", [RECIPE, BASINS])
def test_halves_make_the_whole(recipe):
    source = blob_image()
    labels, graph = graph_of_image(source, recipe)
    np.testing.assert_array_equal(labels_of_image(source, recipe), labels)
    again = graph_of_labels(source, labels, recipe, image_hash=image_sha256(source))
    np.testing.assert_array_equal(again.x, graph.x)
    np.testing.assert_array_equal(again.edge_index, graph.edge_index)
    assert again.source == graph.source


def test_kind_of_graph_follows_the_recipe():
    source = blob_image()
    _, rag = graph_of_image(source, BASINS)
    _, paper = graph_of_image(source, RECIPE)
    assert paper.x.shape[1] == 11
    assert rag.x.shape[1] > 11
    assert (np.bincount(paper.edge_index[1]) == 10).all()


def test_settings_of_the_recipe_arrive():
    source = blob_image()
    slic = SlicParams(nodes_per_megapixel=40_000)
    fine = GraphRecipe(superpixels=slic, graph=PaperParams(n_neighbours=3))
    assert labels_of_image(source, fine).max() > labels_of_image(source, RECIPE).max() * 1.5
    _, graph = graph_of_image(source, fine)
    assert (np.bincount(graph.edge_index[1]) == 3).all()


@pytest.mark.parametrize(
    ("superpixels", "graph"), [(SlicParams(), RagParams()), (BasinParams(), PaperParams())]
)
def test_superpixels_and_graphs_that_do_not_go_together_are_refused(superpixels, graph):
    with pytest.raises(ValueError, match="take basins with rag, or slic with paper"):
        GraphRecipe(superpixels=superpixels, graph=graph)


def test_source_says_what_the_graph_was_made_from():
    source = blob_image()
    _, graph = graph_of_image(source, RECIPE)
    assert graph.source.image_sha256 == image_sha256(source)
    assert graph.source.pixel_size_um == (1.0, 0.5, 0.5)
    assert graph.source.params == RECIPE.model_dump(mode="json")


def test_anisotropy_reaches_the_superpixels():
    pixels = np.random.default_rng(0).integers(0, 255, (8, 24, 24, 1), np.uint8)
    slic = SlicParams(nodes_per_megapixel=10_000, compactness=1.0)
    recipe = GraphRecipe(superpixels=slic, graph=PaperParams())
    flat, cube = (
        labels_of_image(ArraySource(pixels, size), recipe)
        for size in ((10.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    )
    slices = [len(np.unique(np.argwhere(lab == lab[4, 12, 12])[:, 0])) for lab in (flat, cube)]
    assert slices[0] < slices[1]


@pytest.mark.parametrize(("pixels", "density", "wanted"), [(100, 1.0, 2), (2_000_000, 3000, 6000)])
def test_wanted_segments(pixels, density, wanted):
    assert wanted_segments(pixels, density) == wanted


def test_steps_are_named_and_timed():
    names: list[str] = []
    steps = Steps(names.append)
    graph_of_image(blob_image(), RECIPE, steps=steps)
    assert names == list(steps.seconds) == ["read", "superpixels", "graph"]
    assert all(value > 0 for value in steps.seconds.values())
