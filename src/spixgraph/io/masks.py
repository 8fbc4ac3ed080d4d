"""Masks: class ids per pixel, read from and written to PNG, TIFF and OME-Zarr."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from spixgraph.arrays import NOT_ANNOTATED, Array, MaskZYX, PixelSizeUm, ShapeZYX
from spixgraph.errors import InputError, StoredDataError
from spixgraph.io.images import open_stored
from spixgraph.io.pyramid import STRIP_PX, mask_writer
from spixgraph.io.source import ImageInfo, ImageSource, stream_blocks


class MaskSource(ImageSource):
    """A mask file as blocks of (Z, Y, X, 1) uint8 class ids; 255 is not annotated."""

    def __init__(self, path: Path, *, axes: str | None = None) -> None:
        self._path = path
        self._source = open_stored(path, axes=axes, pixel_size_um=None, indexed=True)
        info = self._source.info
        try:
            if info.n_channels != 1 or info.dtype.kind == "f":
                raise StoredDataError(
                    f"{path} has {info.n_channels} channels of {info.dtype}, but a mask has one "
                    "channel of integer class ids; turn colours into ids 0, 1, 2, ..."
                )
        except BaseException:
            self.close()
            raise
        self.info = ImageInfo(info.shape_zyxc, np.dtype(np.uint8), info.pixel_size_um)

    def read(self, z: slice, y: slice, x: slice) -> Array:
        """Return (Z, Y, X, 1) uint8; an id above 255 is a `StoredDataError`."""
        block = self._source.read(z, y, x)
        if block.dtype != np.uint8 and block.max() > NOT_ANNOTATED:
            raise StoredDataError(
                f"{self._path} holds class id {block.max()}, but 0..254 and 255 (not annotated) is "
                "the limit; write classes, not one id per object"
            )
        return block.astype(np.uint8, copy=False)

    def close(self) -> None:
        """Close the file."""
        self._source.close()


def read_mask(path: Path, *, axes: str | None = None) -> MaskZYX:
    """Read a mask whole.

    Parameters
    ----------
    path : Path
        Any format of `open_image`, one channel of integers; the indices of a palette PNG or TIFF
        are the class ids.
    axes : str, optional
        See `open_image`.

    Returns
    -------
    mask : (Z, Y, X) uint8
        Class ids, 255 is not annotated.

    Raises
    ------
    InputError, StoredDataError
        As `open_image`; and if the mask has several channels, floats or ids above 255.
    """
    with MaskSource(path, axes=axes) as source:
        return whole_mask(source)


def whole_mask(source: ImageSource) -> MaskZYX:
    """Read an open mask whole: (Z, Y, X) uint8."""
    mask = np.empty(source.info.shape_zyxc[:3], np.uint8)
    for box in stream_blocks(source.info.shape_zyxc):
        mask[box] = source.read(*box)[..., 0]
    return mask


class MaskBands:
    """An open mask of which a band of rows is read when a box of it is asked for.

    Boxes of the same slices and rows, one after the other, are read once.

    Attributes
    ----------
    shape : (Z, Y, X)
    """

    def __init__(self, source: ImageSource) -> None:
        self._source = source
        self.shape: ShapeZYX = source.info.shape_zyxc[:3]
        self._place: tuple[slice, slice] | None = None
        self._band = np.empty((0, 0, 0), np.uint8)

    def __getitem__(self, box: tuple[slice, slice, slice]) -> MaskZYX:
        """Read a box: uint8 class ids."""
        z, y, x = box
        if (z, y) != self._place:
            self._place = None
            self._band = self._source.read(z, y, slice(0, self.shape[2]))[..., 0]
            self._place = (z, y)
        return self._band[:, :, x]


def write_mask(
    path: Path,
    mask: MaskZYX,
    *,
    pixel_size_um: PixelSizeUm | None = None,
    class_names: Sequence[str] = (),
    colours: Sequence[str] = (),
) -> None:
    """Write a mask, atomically; same mask, same bytes.

    Parameters
    ----------
    path : Path
        `.png` (Z = 1 only, up to 268 megapixels), `.tif` / `.tiff` (tiled, deflated OME-BigTIFF
        with pixel size and pyramid) or `.zarr` (OME-Zarr 0.5 with label metadata and pyramid).
    mask : (Z, Y, X) uint8
        Read strip by strip, so that a memory map is not loaded.
    pixel_size_um : (z, y, x), optional
    class_names : sequence of str
        Name of class 0, 1, ...; written where the format has a place.
    colours : sequence of str
        `#rrggbb` of class 0, 1, ...; written as the palette of a PNG and as label colours.

    Raises
    ------
    InputError
        If the mask is not (Z, Y, X) uint8, the suffix is not known, or a PNG cannot hold it.
    """
    if mask.ndim != 3 or mask.dtype != np.uint8 or 0 in mask.shape:
        raise InputError(f"mask must be (Z, Y, X) uint8, got shape {mask.shape} {mask.dtype}")
    n_z, n_y, n_x = mask.shape
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        writer = mask_writer(
            path,
            (n_z, n_y, n_x),
            folder=Path(folder),
            pixel_size_um=pixel_size_um,
            class_names=class_names,
            colours=colours,
        )
        for z, y in product(range(n_z), range(0, n_y, STRIP_PX)):
            writer.write(z, y // STRIP_PX, np.asarray(mask[z, y : y + STRIP_PX]))
        writer.finish()
