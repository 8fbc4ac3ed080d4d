import numpy as np
import pytest

from spixgraph.errors import InputError
from spixgraph.graph.blocks.plan import BlockPlan, block_plan
from spixgraph.superpixels.basins.grid import BasinPlan, barrier_grid
from tests.unit.graph.blocks.blocks_slow import toy_plan


def test_the_halo_is_three_of_the_coarsest_cells():
    assert toy_plan((1, 9, 9), (1, 64, 64), 1).halo_zyx == (0, 48, 48)
    assert toy_plan((9, 9, 9), (8, 8, 8), 1, z_step=1.0, n_octaves=4).halo_zyx == (24, 24, 24)
    assert toy_plan((9, 9, 9), (8, 8, 8), 1, z_step=1.5, n_octaves=3).halo_zyx == (6, 12, 12)


def test_thick_slices_are_spared_the_first_halving():
    plan = toy_plan((9, 9, 9), (8, 8, 8), 1, z_step=2.0)
    assert [plan.cell_zyx(octave) for octave in range(3)] == [(1, 1, 1), (1, 2, 2), (2, 4, 4)]


def test_a_tile_is_the_grown_block_with_halo_and_the_border_repeated():
    plan = toy_plan((1, 70, 50), (1, 32, 32), 1, n_octaves=3)
    assert plan.tile_box(0) == (slice(0, 1), slice(0, 44), slice(0, 44))
    assert plan.tile_box(5) == (slice(0, 1), slice(52, 70), slice(20, 50))
    levels = np.arange(3500, dtype=np.uint16).reshape(1, 1, 70, 50)
    tile = plan.pad_tile(levels[(slice(None), *plan.tile_box(5))], 5)
    assert tile.shape == (1, *plan.tile_shape((1, 6, 18)))
    wide = np.pad(levels, [(0, 0), (0, 0), (0, 20), (0, 20)], mode="edge")
    np.testing.assert_array_equal(tile, wide[:, :, 52:84, 20:64])


@pytest.mark.parametrize(
    ("size", "z_step", "n_octaves"),
    [(None, None, 5), ((4.0, 1.0, 1.0), None, 5), ((2.0, 1.0, 1.0), 2.0, 4)],
)
def test_the_pixel_size_decides_whether_slices_see_each_other(size, z_step, n_octaves):
    grid = barrier_grid((9, 9, 9), size, 1000)
    plan = block_plan(BasinPlan(grid, (1.0,), 0.0), size)
    assert (plan.z_step, plan.n_octaves) == (z_step, n_octaves)


def test_plans_that_contradict_themselves_are_refused():
    basins = BasinPlan(barrier_grid((9, 9, 9), (1, 1, 1), 1000), (1.0,), 0.0)
    with pytest.raises(InputError, match="does not go with"):
        BlockPlan(basins, None)
    with pytest.raises(InputError, match="n_octaves must be 3"):
        BlockPlan(basins, 1.0, 2)
