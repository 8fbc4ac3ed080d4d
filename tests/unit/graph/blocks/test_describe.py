from typing import Any

import numpy as np
import pytest

from spixgraph.errors import InputError
from spixgraph.graph.blocks.block_graph import edge_feature_names, node_feature_names
from spixgraph.graph.blocks.describe import describe_block
from spixgraph.graph.blocks.pixel_maps import FilteredBlock, pixel_map_names, pixel_maps
from spixgraph.superpixels.basins.block import Workspace
from tests.unit.graph.blocks.blocks_slow import (
    describe_all,
    features_slow,
    once_and_gradient_slow,
    pixel_maps_slow,
    smooth_levels,
    tile_of,
    toy_plan,
)

CASES = {  # shape, block, channels, z_step, octaves
    "grey": ((1, 101, 131), (1, 64, 64), 1, None, 5),
    "stack": ((2, 70, 67), (1, 64, 64), 3, None, 5),
    "few octaves": ((1, 40, 30), (1, 32, 32), 2, None, 3),
    "volume": ((21, 37, 35), (16, 32, 32), 2, 1.0, 3),
    "volume with thick slices": ((13, 41, 35), (8, 32, 32), 1, 2.0, 4),
    "smaller than a cell": ((1, 3, 5), (1, 64, 64), 1, None, 5),
}


@pytest.mark.parametrize("case", CASES)
def test_columns_match_the_slow_twin_of_the_whole_image(case):
    shape, block, n_channels, z_step, n_octaves = CASES[case]
    plan = toy_plan(shape, block, n_channels, z_step=z_step, n_octaves=n_octaves, merge_cost=2e8)
    levels = smooth_levels(shape, n_channels)
    labels, graphs = describe_all(levels, plan, Workspace())
    once, gradient = once_and_gradient_slow(levels, plan)
    wanted = features_slow(levels, labels, gradient, once, plan)
    found = np.concatenate([graph.x for graph in graphs])
    np.testing.assert_allclose(found, wanted, atol=2e-6)
    assert np.ptp(labels) > 5 or labels.size < 100


@pytest.mark.parametrize("case", CASES)
def test_pixel_maps_match_the_slow_twin_of_the_whole_image(case):
    shape, block, n_channels, z_step, n_octaves = CASES[case]
    plan = toy_plan(shape, block, n_channels, z_step=z_step, n_octaves=n_octaves)
    levels = smooth_levels(shape, n_channels)
    wanted, work = pixel_maps_slow(levels, plan), Workspace()
    assert len(wanted) == len(pixel_map_names(n_channels, n_octaves, is_volume=plan.is_volume))
    for number in range(plan.basins.grid.n_blocks):
        found = pixel_maps(tile_of(levels, plan, number), plan.place(number), plan, work)
        assert found.dtype == np.float32
        box = (slice(None), *plan.basins.grid.box(number))
        np.testing.assert_allclose(found, wanted[box], atol=1e-6)


def test_strips_of_pixel_maps_are_those_of_the_block():
    plan = toy_plan((1, 100, 90), (1, 128, 64), 2, n_octaves=4)
    levels, work = smooth_levels((1, 100, 90), 2), Workspace()
    for number in range(plan.basins.grid.n_blocks):
        tile, place = tile_of(levels, plan, number), plan.place(number)
        strips = FilteredBlock(tile, place, plan, work).strips()
        found = [(rows.start, maps.copy()) for rows, maps in strips]
        assert [y for y, _ in found] == [0, 32, 64, 96]
        whole = pixel_maps(tile, place, plan, Workspace())
        assert np.concatenate([m for _, m in found], axis=2).tobytes() == whole.tobytes()


def test_a_flat_image_is_one_flat_superpixel_per_block():
    plan = toy_plan((1, 40, 100), (1, 64, 64), 1, merge_cost=1.0)
    labels, graphs = describe_all(np.full((1, 1, 40, 100), 9000, np.uint16), plan, Workspace())
    assert labels.max() == 1
    names = node_feature_names(1, 5, is_volume=False)
    for graph in graphs:
        row = dict(zip(names, graph.x[0], strict=True))
        assert row["c0_intensity_mean"] == pytest.approx(9000 / 32767)
        assert row["c0_smooth_3_mean"] == pytest.approx(9000 / 32767)
        zeros = [row[name] for name in names if name.endswith("_std") or "gradient" in name]
        np.testing.assert_allclose(zeros, 0, atol=1e-6)
        assert graph.pairs.shape == (2, 0)


def test_no_noise_no_texture_but_a_step_is_seen():
    levels = np.zeros((1, 1, 64, 64), np.uint16)
    levels[..., 32:] = 32767
    plan = toy_plan((1, 64, 64), (1, 64, 64), 1, merge_cost=1e6)
    _, [graph] = describe_all(levels, plan, Workspace())
    assert graph.gradient_max.max() == graph.rims[2].max()  # the step meets the upper border
    assert graph.pairs.shape[1] >= 1


@pytest.mark.parametrize(("n_channels", "n_octaves"), [(1, 5), (3, 4), (2, 3)])
def test_names_are_unique_and_as_many_as_columns(n_channels, n_octaves):
    plan = toy_plan((1, 20, 20), (1, 32, 32), n_channels, n_octaves=n_octaves)
    tile = np.zeros((n_channels, *plan.tile_shape((1, 20, 20))), np.uint16)
    graph = describe_block(tile, plan.place(0), plan, Workspace())
    names = node_feature_names(n_channels, n_octaves, is_volume=False)
    assert len(set(names)) == len(names) == graph.x.shape[1]
    assert len(set(edge_feature_names(n_channels))) == 7 + n_channels


def test_tiles_of_another_form_are_refused():
    plan = toy_plan((1, 20, 20), (1, 32, 32), 1)
    tile = np.zeros((1, *plan.tile_shape((1, 20, 20))), np.uint16)
    wrong: Any
    for wrong in (tile[:, :, 1:], tile.astype(np.int32), np.concatenate([tile, tile])):
        with pytest.raises(InputError, match="pad_tile"):
            describe_block(wrong, plan.place(0), plan, Workspace())
        with pytest.raises(InputError, match="pad_tile"):
            pixel_maps(wrong, plan.place(0), plan, Workspace())
