"""A slow, obvious twin of `spixgraph.graph.blocks`: scipy over the whole image at once."""

import numpy as np
from scipy.ndimage import correlate1d, gaussian_filter

from spixgraph.graph.blocks.block_graph import node_feature_names
from spixgraph.graph.blocks.describe import describe_block
from spixgraph.graph.blocks.pixel_maps import pixel_map_names
from spixgraph.graph.blocks.plan import BlockPlan
from spixgraph.superpixels.basins.grid import BarrierGrid, BasinPlan
from tests.unit.superpixels.basins_slow import gradient_slow, smooth_slow

TOP = 32767


def pad_zyx(plan):
    """Eight of the coarsest cells: no filter sees that far."""
    z, y, x = plan.cell_zyx(plan.n_octaves - 1)
    return (8 * z if plan.is_volume else 0), 8 * y, 8 * x


def outwards(levels, plan):
    """Repeat the border, up to whole cells of every octave."""
    sizes = zip(pad_zyx(plan), levels.shape[1:], strict=True)
    pads = [(pad, pad + (-n % pad if pad else 0)) for pad, n in sizes]
    return np.pad(levels, [(0, 0), *pads], mode="edge").astype(np.float64)


def halve_slow(values, deep):
    """Average cells of (..., Z, Y, X)."""
    for axis, n in ((-1, 2), (-2, 2), (-3, deep)):
        values = np.moveaxis(values, axis, 0)
        values = np.moveaxis(sum(values[i::n] for i in range(n)) / n, 0, axis)
    return values


def binomial(values, axes):
    for axis in axes:
        values = correlate1d(values, np.array([1, 4, 6, 4, 1]) / 16, axis, mode="nearest")
    return values


def slope(values, axis):
    return correlate1d(values, [-0.5, 0, 0.5], axis, mode="nearest")


def eigenvalues_slow(yy, yx, xx):
    matrix = np.stack([np.stack([yy, yx], -1), np.stack([yx, xx], -1)], -1)
    values = np.linalg.eigvalsh(matrix)
    return values[..., 0], values[..., 1]


def octaves_slow(levels, plan):
    """Yield per octave a dict of maps in units of the full range, on padded cells."""
    axes = (1, 2, 3) if plan.is_volume else (2, 3)
    channels = outwards(levels, plan)
    squares = channels**2
    products = np.zeros((3, *channels.shape[1:]))
    cell = plan.cell_zyx(0)
    for octave in range(plan.n_octaves):
        if octave:
            deep = plan.cell_zyx(octave)[0] // cell[0]
            cell = plan.cell_zyx(octave)
            channels, squares, products = (
                halve_slow(values, deep) for values in (channels, squares, products)
            )
        if octave == 1:
            dy, dx = slope(channels, 2), slope(channels, 3)
            products = np.stack([(p * q).mean(0) for p, q in ((dy, dy), (dy, dx), (dx, dx))])
        once = binomial(channels, axes)
        smooth = once if octave == plan.n_octaves - 1 else binomial(once, axes)
        z_slope = cell[1] / (cell[0] * plan.z_step) if plan.z_step else 0.0
        maps = _maps_slow(once, smooth, z_slope)
        variance = binomial(squares, axes) - once**2
        maps["deviation"] = np.sqrt(np.maximum(variance.mean(0), 0))
        low, high = eigenvalues_slow(*binomial(products, (2, 3)))
        maps["structure_low"] = np.sqrt(np.maximum(low, 0))
        maps["structure_high"] = np.sqrt(np.maximum(high, 0))
        yield octave, {name: values / TOP for name, values in maps.items()}


def _maps_slow(once, smooth, z_slope):
    maps = {f"c{c}_smooth": values for c, values in enumerate(smooth)}
    steep = slope(smooth, 2) ** 2 + slope(smooth, 3) ** 2 + (slope(smooth, 1) * z_slope) ** 2
    maps["gradient"] = np.sqrt(steep.mean(0))
    grey = smooth.mean(0)
    maps["band"] = once.mean(0) - grey
    zz, yy, xx = (correlate1d(grey, [1, -2, 1], axis, mode="nearest") for axis in range(3))
    maps["laplacian"] = yy + xx + zz * z_slope**2
    yx = slope(slope(grey, 1), 2)
    if not z_slope:
        maps["hessian_low"], maps["hessian_high"] = eigenvalues_slow(yy, yx, xx)
        return maps
    zy, zx = (slope(slope(grey, 0), axis) * z_slope for axis in (1, 2))
    rows = (zz * z_slope**2, zy, zx), (zy, yy, yx), (zx, yx, xx)
    matrix = np.stack([np.stack(row, -1) for row in rows], -1)
    for name, values in zip(
        ("low", "mid", "high"), np.moveaxis(np.linalg.eigvalsh(matrix), -1, 0), strict=True
    ):
        maps[f"hessian_{name}"] = values
    return maps


def inside(values, cell, shape_zyx, plan):
    """Repeat each cell over its pixels and cut the image out of its padding."""
    for axis, n in enumerate(cell):
        values = np.repeat(values, n, axis)
    begin = zip(pad_zyx(plan), shape_zyx, strict=True)
    return values[tuple(slice(b, b + n) for b, n in begin)]


def features_slow(levels, labels, gradient, once, plan):
    """Describe all superpixels (Z, Y, X) of an image; a dict of (n,) columns."""
    n_pixels = np.bincount(labels.ravel())

    def mean(values):
        return np.bincount(labels.ravel(), values.ravel()) / n_pixels

    columns = {}

    def add(name, values, *, plain=False):
        columns[f"{name}_mean"] = mean(values)
        if not plain:
            around = values - columns[f"{name}_mean"][labels]
            columns[f"{name}_std"] = np.sqrt(mean(around**2))

    for c, channel in enumerate(levels):
        add(f"c{c}_intensity", channel / TOP)
        for i in range(len(n_pixels)):
            counts = np.histogram(channel[labels == i] >> 9, np.arange(65))[0]
            for decile in range(1, 10):
                columns.setdefault(f"c{c}_decile_{decile}", []).append(_quantile(counts, decile))
    weights = np.asarray(plan.basins.channel_weights, np.float32)
    add("gradient_0", gradient / (2 * TOP))
    weighed = np.rint(levels * weights[:, None, None, None]).astype(np.int64)
    band = np.rint((weighed - once).sum(0) * np.float32(1 / len(levels)))
    add("band_0", band * len(levels) / (TOP * float(weights.sum())))
    for octave, maps in octaves_slow(levels, plan):
        for name, values in maps.items() if octave else ():
            fine = inside(values, plan.cell_zyx(octave), labels.shape, plan)
            add(f"{name}_{octave}", fine, plain="smooth" in name)
    columns |= _shape_slow(labels, n_pixels)
    names = node_feature_names(len(levels), plan.n_octaves, is_volume=plan.is_volume)
    return np.stack([columns[name] for name in names], axis=1)


def _quantile(counts, decile):
    wanted = counts.sum() * (decile / 10)
    below = 0
    for place, count in enumerate(counts):
        if below + count >= wanted:
            return (place + (wanted - below) / max(count, 1)) / 64
        below += count
    raise AssertionError


def _shape_slow(labels, n_pixels):
    columns: dict[str, list[float]] = {
        name: [] for name in ("log_n_pixels", "border", "elongation", "compactness")
    }
    is_2d = labels.shape[0] == 1
    for i, n in enumerate(n_pixels):
        where = np.argwhere(labels == i)
        ends = np.array(labels.shape) - 1
        on_border = ((where == 0) | (where == ends))[:, 1 if is_2d else 0 :].any(1)
        places = where[:, 1:] if is_2d else where
        covariance = np.cov(places.T, bias=True) + np.eye(places.shape[1]) / 12
        axes = np.linalg.eigvalsh(covariance)
        full = 4 * np.pi if is_2d else 4 / 3 * np.pi * 5**1.5
        columns["log_n_pixels"].append(np.log(n))
        columns["border"].append(on_border.mean())
        columns["elongation"].append(1 - np.sqrt(axes[0] / axes[-1]))
        columns["compactness"].append(n / (full * np.sqrt(axes.prod())))
    return columns


def once_and_gradient_slow(levels, plan):
    """Smoothed channels (C, Z, Y, X) and gradient (Z, Y, X) of the superpixels."""
    weights = np.asarray(plan.basins.channel_weights, np.float32)
    weighed = np.rint(levels * weights[:, None, None, None]).astype(np.uint16)
    halo = (5 if plan.is_volume else 0, 5, 5)
    wide = np.pad(weighed, [(0, 0), *((h, h) for h in halo)], mode="edge")
    axes = (0, 1, 2) if plan.is_volume else (1, 2)
    rim = tuple(slice(3, -3) if axis in axes else slice(None) for axis in range(3))
    once = np.stack([smooth_slow(channel, axes)[rim] for channel in wide])
    return once, gradient_slow(wide, halo)


def pixel_maps_slow(levels, plan):
    """Maps (P, Z, Y, X) of a whole image."""
    found = {f"c{c}_intensity": channel / TOP for c, channel in enumerate(levels)}
    for octave, maps in octaves_slow(levels, plan):
        for name, values in maps.items():
            for finer in range(octave, 0, -1):
                deep = plan.cell_zyx(finer)[0] // plan.cell_zyx(finer - 1)[0]
                values = _stretch_slow(values, deep)
            whole = inside(values, (1, 1, 1), levels.shape[1:], plan)
            found[f"{name}_{octave}"] = whole
    names = pixel_map_names(len(levels), plan.n_octaves, is_volume=plan.is_volume)
    return np.stack([found[name] for name in names])


def _stretch_slow(values, deep):
    for axis, n in ((0, deep), (1, 2), (2, 2)):
        if n == 2:
            fine = np.repeat(values, 2, axis)
            places = np.arange(fine.shape[axis])
            other = np.clip(places + np.where(places % 2, 2, -2), 0, len(places) - 1)
            values = 0.75 * fine + 0.25 * np.take(fine, other, axis)
    return values


def toy_plan(shape_zyx, block_zyx, n_channels, *, z_step=None, n_octaves=5, merge_cost=0.0):
    """A plan of small blocks."""
    weights = (1.0, 0.7, 0.3)[:n_channels]
    grid = BarrierGrid(shape_zyx, block_zyx, z_step is not None)
    return BlockPlan(BasinPlan(grid, weights, merge_cost), z_step, n_octaves)


def tile_of(levels, plan, number):
    """The tile of a block, from the levels (C, Z, Y, X) of an image."""
    return plan.pad_tile(levels[(slice(None), *plan.tile_box(number))], number)


def describe_all(levels, plan, work):
    """Labels (Z, Y, X) of the image, and the graphs of all blocks in order."""
    grid = plan.basins.grid
    labels, first = np.empty(grid.shape_zyx, np.int64), 0
    graphs = []
    for number in range(grid.n_blocks):
        graph = describe_block(tile_of(levels, plan, number), plan.place(number), plan, work)
        labels[grid.box(number)] = graph.labels.astype(np.int64) + first
        first += len(graph.x)
        graphs.append(graph)
    return labels, graphs


def smooth_levels(shape_zyx, n_channels, *, seed=0, noise=0.05):
    """Levels (C, Z, Y, X) of a soft random image with some noise, over the full range."""
    rng = np.random.default_rng(seed)
    deep = 1.0 if shape_zyx[0] > 3 else 0.0
    soft = gaussian_filter(rng.normal(size=(n_channels, *shape_zyx)), (0, deep, 2, 2))
    soft = soft / soft.std() + noise * rng.normal(size=soft.shape)
    return np.rint((soft - soft.min()) / np.ptp(soft) * TOP).astype(np.uint16)
