"""The columns that describe a node, made from sums."""

import numpy as np

from spixgraph.arrays import Float32, Float64, Int64
from spixgraph.graph.sums import N_BINS, RegionSums

DECILES = tuple(range(1, 10))
_PIXEL_VARIANCE = 1 / 12


def node_features(sums: RegionSums, *, is_2d: bool) -> tuple[Float32, tuple[str, ...]]:
    """Describe each superpixel by intensity, texture and shape.

    Parameters
    ----------
    sums : RegionSums
        With the maps of `maps.feature_maps`.
    is_2d : bool
        True if the whole image has one slice.

    Returns
    -------
    x : (n, F) float32
        Finite; raw values, not standardised.
    names : tuple of str
        ``<map>_mean``, ``<map>_std`` (smoothed intensities: mean alone), ``c0_decile_1`` ... 9,
        ``log_n_pixels``, ``border`` (fraction of pixels on the image border), ``elongation``
        (0 round, towards 1 long), ``compactness`` (size against the ellipse or ellipsoid of the
        same second moments: 1 full, less when ragged or hollow).
    """
    columns: dict[str, Float64] = {}
    for name in sums.names:
        columns[f"{name}_mean"] = sums.mean(name)
        if "_smooth_" not in name:
            columns[f"{name}_std"] = sums.deviation(name)
    for i, histogram in enumerate(sums.histogram):
        for decile, values in zip(DECILES, _deciles(histogram), strict=True):
            columns[f"c{i}_decile_{decile}"] = values
    n_pixels = np.maximum(sums.n_pixels, 1)
    columns["log_n_pixels"] = np.log(n_pixels)
    columns["border"] = sums.n_border / n_pixels
    columns["elongation"], columns["compactness"] = _shape(sums, is_2d=is_2d)
    return np.stack(list(columns.values()), axis=1).astype(np.float32), tuple(columns)


def neighbour_contrast(
    values: Float64, edge_index: Int64, contact_px: Int64
) -> tuple[Float32, tuple[str, ...]]:
    """Subtract the mean of the neighbours, weighted by contact; 0 without neighbours.

    Parameters
    ----------
    values : (n, C) float64
    edge_index : (2, E) int64
    contact_px : (E,) int64

    Returns
    -------
    contrast : (n, C) float32
    names : tuple of str
        ``c0_contrast`` ...
    """
    source, target = edge_index
    n, n_channels = values.shape
    weight = np.bincount(target, contact_px, minlength=n)
    contrast = np.zeros((n, n_channels), np.float32)
    for i in range(n_channels):
        around = np.bincount(target, contact_px * values[source, i], minlength=n)
        own = np.where(weight > 0, values[:, i], 0)
        contrast[:, i] = own - around / np.maximum(weight, 1)
    return contrast, tuple(f"c{i}_contrast" for i in range(n_channels))


def _deciles(histogram: Int64) -> Float64:
    """Quantiles (9, n) of (n, B) counts, linear within a bin; 0 for an id without pixels."""
    cumulated = histogram.cumsum(axis=1, dtype=np.int64)
    rows = np.arange(len(histogram))
    out = np.zeros((len(DECILES), len(histogram)))
    for i, decile in enumerate(DECILES):
        wanted = cumulated[:, -1] * (decile / 10)
        place = (cumulated < wanted[:, None]).sum(1)
        count = np.maximum(histogram[rows, place], 1)
        below = cumulated[rows, place] - histogram[rows, place]
        out[i] = (place + (wanted - below) / count) / N_BINS
    return out


def _shape(sums: RegionSums, *, is_2d: bool) -> tuple[Float64, Float64]:
    """Elongation and compactness (n,) from the second moments.

    A pixel is a square, not a point: 1/12 is its own variance.
    """
    n_pixels = np.maximum(sums.n_pixels, 1)
    mean = sums.position / n_pixels
    covariance = np.empty((len(n_pixels), 3, 3))
    for moment, (a, b) in zip(
        sums.position_sq, [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)], strict=True
    ):
        covariance[:, a, b] = covariance[:, b, a] = moment / n_pixels - mean[a] * mean[b]
    covariance += np.eye(3) * _PIXEL_VARIANCE
    axes = np.linalg.eigvalsh(covariance[:, 1:, 1:] if is_2d else covariance)
    axes = np.maximum(axes, _PIXEL_VARIANCE)
    elongation = 1 - np.sqrt(axes[:, 0] / axes[:, -1])
    volume = 4 * np.pi if is_2d else 4 / 3 * np.pi * 5**1.5
    return elongation, n_pixels / (volume * np.sqrt(axes.prod(1)))
