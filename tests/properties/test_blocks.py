"""The law of the house for the compiled work on blocks, over random images and plans."""

import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spixgraph.graph.blocks.describe import describe_block
from spixgraph.graph.blocks.pixel_maps import pixel_maps
from spixgraph.superpixels.basins.block import Workspace
from spixgraph.superpixels.basins.image import label_blocks
from tests.unit.graph.blocks.blocks_slow import (
    describe_all,
    features_slow,
    once_and_gradient_slow,
    tile_of,
    toy_plan,
)
from tests.unit.superpixels.basins_slow import contacts_slow


class Levels:
    """Levels (C, Z, Y, X) as a `LevelSource`."""

    def __init__(self, levels):
        self._levels = levels
        self.n_channels, self.shape_zyx = len(levels), levels.shape[1:]

    def read(self, box):
        return self._levels[(slice(None), *box)]


@st.composite
def images(draw):
    """Levels in few steps, so that ties are common, and a plan of odd blocks."""
    is_volume = draw(st.booleans())
    n_octaves = draw(st.integers(3, 4))
    cell = 2 ** (n_octaves - 1)
    shape = (
        draw(st.integers(2, 12)) if is_volume else draw(st.integers(1, 2)),
        draw(st.integers(1, 40)),
        draw(st.integers(1, 40)),
    )
    block = (
        cell * draw(st.integers(1, 2)) if is_volume else 1,
        cell * draw(st.integers(1, 4)),
        cell * draw(st.integers(1, 4)),
    )
    n_channels = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    steps = draw(st.sampled_from([2, 5, 32768]))
    levels = rng.integers(0, steps, (n_channels, *shape)) * (32767 // (steps - 1))
    return levels.astype(np.uint16), toy_plan(
        shape,
        block,
        n_channels,
        z_step=draw(st.sampled_from([1.0, 1.7])) if is_volume else None,
        n_octaves=n_octaves,
        merge_cost=2.0 ** draw(st.integers(10, 34)),
    )


@given(images())
@settings(max_examples=25, deadline=None)
def test_blocks_say_what_the_whole_image_says(levels_plan):
    levels, plan = levels_plan
    labels, graphs = describe_all(levels, plan, Workspace())
    once, gradient = once_and_gradient_slow(levels, plan)
    x = np.concatenate([graph.x for graph in graphs])
    np.testing.assert_allclose(x, features_slow(levels, labels, gradient, once, plan), atol=3e-6)
    n_pixels = np.bincount(labels.ravel())
    np.testing.assert_array_equal(np.concatenate([g.n_pixels for g in graphs]), n_pixels)
    centroid = np.concatenate([g.centroid_px for g in graphs])
    for axis, places in enumerate(np.indices(labels.shape)):
        mean = np.bincount(labels.ravel(), places.ravel()) / n_pixels
        np.testing.assert_allclose(centroid[:, axis], mean, rtol=1e-12, atol=1e-12)
    intensity = np.concatenate([g.intensity for g in graphs])
    for c, channel in enumerate(levels):
        mean = np.bincount(labels.ravel(), channel.ravel()) / n_pixels / 32767
        np.testing.assert_allclose(intensity[:, c], mean, rtol=1e-12)


@given(images())
@settings(max_examples=25, deadline=None)
def test_labels_contacts_and_rims_are_those_of_the_block(levels_plan):
    levels, plan = levels_plan
    grid = plan.basins.grid
    _, gradient = once_and_gradient_slow(levels, plan)
    _, graphs = describe_all(levels, plan, Workspace())
    wanted = label_blocks(Levels(levels), plan.basins, range(grid.n_blocks))
    for number, (graph, (labels, n)) in enumerate(zip(graphs, wanted, strict=True)):
        np.testing.assert_array_equal(graph.labels, labels)
        assert len(graph.x) == n
        inside = gradient[grid.box(number)]
        found = contacts_slow(labels, inside)
        assert [tuple(p) for p in graph.pairs.T.tolist()] == sorted(found)
        columns = graph.length_px, graph.gradient_sum, graph.gradient_max
        for row, pair in zip(zip(*columns, strict=True), sorted(found), strict=True):
            assert list(row) == found[pair]
        for i, rim in enumerate(graph.rims):
            if i > 1 or levels.shape[1] > 1:
                np.testing.assert_array_equal(rim, np.take(inside, -(i % 2), i // 2))


@given(images(), st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_no_block_depends_on_the_ones_before(levels_plan, random):
    levels, plan = levels_plan
    _, graphs = describe_all(levels, plan, Workspace())
    numbers = list(range(len(graphs)))
    random.shuffle(numbers)
    work = Workspace()
    for number in numbers:
        tile, place = tile_of(levels, plan, number), plan.place(number)
        maps = pixel_maps(tile, place, plan, work)
        again = describe_block(tile, place, plan, work)
        for field in dataclasses.fields(again):
            a, b = getattr(again, field.name), getattr(graphs[number], field.name)
            for left, right in zip(a, b, strict=True) if field.name == "rims" else [(a, b)]:
                assert left.tobytes() == right.tobytes(), field.name
        assert maps.tobytes() == pixel_maps(tile, place, plan, Workspace()).tobytes()
