"""What is decided once per image: intensity limits, and the plan of its blocks."""

from dataclasses import dataclass, field

import numpy as np

from spixgraph.arrays import Array, Float64, ShapeZYX
from spixgraph.errors import InputError
from spixgraph.graph.blocks.plan import BlockPlan, block_plan
from spixgraph.graph.stream.levels import LevelReader, Levels, count_values
from spixgraph.io.images import ArraySource
from spixgraph.io.limits import intensity_limits
from spixgraph.io.sample import SAMPLE_PX, sample_boxes
from spixgraph.io.source import BAND_ROWS, ImageInfo, ImageSource, resolve_box
from spixgraph.superpixels.basins.grid import HALO_PX, Box
from spixgraph.superpixels.basins.levels import UInt16
from spixgraph.superpixels.basins.plan import make_plan

_ALL = slice(None)


@dataclass(frozen=True, slots=True, eq=False)
class ImagePlan:
    """All that decides the graph of an image, besides its pixels.

    Attributes
    ----------
    info : ImageInfo
        Shape, stored dtype and pixel size of the image.
    nodes_per_megapixel : float
        What was wanted.
    limits : (C, 2) float64
        Intensities that become 0 and 1.
    blocks : BlockPlan
    """

    info: ImageInfo
    nodes_per_megapixel: float
    limits: Float64
    blocks: BlockPlan
    levels: Levels = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", Levels(self.info.dtype, self.limits))

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return self.info.n_channels

    def read_tile(self, source: ImageSource, number: int) -> UInt16:
        """Read block `number` with its halo, as `describe_block` and `pixel_maps` want it.

        Parameters
        ----------
        source : ImageSource
            Of the image that was planned.
        number : int
            0..n-1 in z, y, x order, see ``blocks.basins.grid``.

        Returns
        -------
        (C, Z', Y', X') uint16
            Levels 0..32767; the border of the image is repeated outwards.
        """
        box = self.blocks.tile_box(number)
        return self.tile_of(source.read(*box), box, number)

    def tile_of(self, pixels: Array, box: Box, number: int, out: UInt16 | None = None) -> UInt16:
        """Do the same for stored pixels (Z, Y, X, C) that hold at least ``tile_box(number)``.

        `box` is where they come from; `out`, if given, becomes the tile.
        """
        place, halo = self.blocks.place(number), self.blocks.halo_zyx
        if out is None:
            out = np.empty((self.n_channels, *self.blocks.tile_shape(place.size_zyx)), np.uint16)
        z, y, x = (o - h - s.start for o, h, s in zip(place.origin_zyx, halo, box, strict=True))
        self.levels.fill(pixels, (z, y, x), out)
        return out


def plan_image(
    source: ImageSource,
    *,
    nodes_per_megapixel: float,
    workers: int = 1,
    block_zyx: ShapeZYX | None = None,
) -> ImagePlan:
    """Decide intensity limits, channel weights and the merge cost from a sample of blocks.

    Parameters
    ----------
    source : ImageSource
        Read in the boxes of `io.sample.sample_boxes`, and five pixels around each, once: all of an
        image up to 16 megapixels, 8 megapixels of a larger one, 16 of a volume.
    nodes_per_megapixel : float
        Wanted superpixels per million pixels (voxels in a volume), > 0.
    workers : int
        Threads; the plan does not depend on it.
    block_zyx : three int, optional
        Size of barrier blocks other than the definition's, for tests.

    Raises
    ------
    InputError
        If a setting is out of range.
    """
    if block_zyx is not None and block_zyx[1] % BAND_ROWS:
        raise InputError(f"block {block_zyx} must be a multiple of {BAND_ROWS} rows")
    kept = _Sample(source)
    info = source.info
    limits = intensity_limits(kept, count=count_values)
    basins = make_plan(
        LevelReader(kept, info, Levels(info.dtype, limits)),
        nodes_per_megapixel=nodes_per_megapixel,
        spacing_zyx=info.spacing_zyx,
        workers=workers,
        block_zyx=block_zyx,
    )
    return ImagePlan(info, nodes_per_megapixel, limits, block_plan(basins, info.spacing_zyx))


def is_small(info: ImageInfo) -> bool:
    """Whether the sample is the whole image."""
    return int(np.prod(info.shape_zyxc[:3], dtype=np.int64)) <= SAMPLE_PX


def in_memory(source: ImageSource) -> ImageSource:
    """Read an image that is no larger than the sample, so that it is read once in all."""
    if type(source) is ArraySource or not is_small(source.info):
        return source
    kept = ArraySource(source.read(_ALL, _ALL, _ALL))
    kept.info = source.info
    return kept


class _Sample(ImageSource):
    """The sample of an image, each pixel read once, with the halo that superpixels need."""

    def __init__(self, source: ImageSource) -> None:
        self.info = source.info
        z, y, x, _ = source.info.shape_zyxc
        self._source = source
        self._kept: dict[tuple[tuple[int, int], ...], Array] = {}
        if type(source) is ArraySource:
            return
        for box in sample_boxes((z, y, x), source.info.spacing_zyx):
            wide = [slice(max(0, s.start - HALO_PX), s.stop + HALO_PX) for s in box]
            wide[0] = wide[0] if box[0].stop - box[0].start > 1 else box[0]
            spans = resolve_box(wide[0], wide[1], wide[2], source.info.shape_zyxc)
            self._kept[spans] = source.read(wide[0], wide[1], wide[2])

    def read(self, z: slice, y: slice, x: slice) -> Array:
        """See `ImageSource.read`; of the pixels that were kept, else of the image."""
        wanted = resolve_box(z, y, x, self.info.shape_zyxc)
        for spans, pixels in self._kept.items():
            pairs = list(zip(wanted, spans, strict=True))
            if all(s[0] <= w[0] and w[1] <= s[1] for w, s in pairs):
                part = tuple(slice(w[0] - s[0], w[1] - s[0]) for w, s in pairs)
                return np.ascontiguousarray(pixels[part])
        return self._source.read(z, y, x)
