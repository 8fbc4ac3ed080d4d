"""What a block hands on, and the names of its columns."""

from dataclasses import dataclass

from spixgraph.arrays import Float32, Float64, Int32, Int64
from spixgraph.superpixels.basins.levels import UInt16

DECILES = tuple(range(1, 10))
_PLANE_TEXTURES = (
    "gradient",
    "deviation",
    "hessian_low",
    "hessian_high",
    "structure_low",
    "structure_high",
)
_VOLUME_TEXTURES = (*_PLANE_TEXTURES[:3], "hessian_mid", *_PLANE_TEXTURES[3:])
_WIDE_TEXTURES = ("gradient", "deviation", "laplacian")


@dataclass(frozen=True, slots=True, eq=False)
class BlockGraph:
    """Superpixels of one block, described; node ids are 0..n-1 in the order of the first pixel.

    Nothing in it is shared with a workspace.

    Attributes
    ----------
    labels : (Z, Y, X) uint16
    x : (n, F) float32
        Columns of `node_feature_names`.
    centroid_px : (n, 3) float64
        Place z, y, x in the image.
    n_pixels : (n,) int64
    intensity : (n, C) float64
        Means, 0..1.
    pairs : (2, P) int64
        Ids u < v of superpixels that share a pixel side, sorted by u, then v.
    length_px : (P,) int64
        Number of sides.
    gradient_sum : (P,) int64
        Of the larger gradient of the two pixels of each side.
    gradient_max : (P,) int32
    rims : six arrays of uint16
        Gradients of the first and last plane along z (Y, X), along y (Z, X), along x (Z, Y). Those
        along z are empty (0, 0) in an image of one slice. A gradient of ``2 * levels.TOP`` is a
        step of the full range per pixel.
    """

    labels: UInt16
    x: Float32
    centroid_px: Float64
    n_pixels: Int64
    intensity: Float64
    pairs: Int64
    length_px: Int64
    gradient_sum: Int64
    gradient_max: Int32
    rims: tuple[UInt16, UInt16, UInt16, UInt16, UInt16, UInt16]


def textures(octave: int, n_octaves: int, *, is_volume: bool) -> tuple[str, ...]:
    """Name the maps of an octave, from 1 on; the last one has less of them."""
    if octave == n_octaves - 1:
        return _WIDE_TEXTURES
    return _VOLUME_TEXTURES if is_volume else _PLANE_TEXTURES


def node_feature_names(n_channels: int, n_octaves: int, *, is_volume: bool) -> tuple[str, ...]:
    """Name the columns of `BlockGraph.x`, without the contrast to the neighbours."""
    fine = [*(f"c{c}_intensity" for c in range(n_channels)), "gradient_0", "band_0"]
    names = [f"{name}_{of}" for name in fine for of in ("mean", "std")]
    names += [f"c{c}_decile_{decile}" for c in range(n_channels) for decile in DECILES]
    for octave in range(1, n_octaves):
        names += [f"c{c}_smooth_{octave}_mean" for c in range(n_channels)]
        maps = textures(octave, n_octaves, is_volume=is_volume)
        names += [f"{name}_{octave}_{of}" for name in maps for of in ("mean", "std")]
    names += ["log_n_pixels", "border", "elongation", "compactness"]
    return tuple(names)


def edge_feature_names(n_channels: int) -> tuple[str, ...]:
    """Name the columns that describe an edge; made where all edges are known."""
    return (
        "log_contact",
        "gradient_mean",
        "gradient_max",
        "offset_z",
        "offset_y",
        "offset_x",
        "log_size_ratio",
        *(f"c{c}_contrast" for c in range(n_channels)),
    )
