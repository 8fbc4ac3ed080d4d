"""Masks: class ids per pixel, read from and written to PNG, TIFF and OME-Zarr."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from spixgraph.arrays import NOT_ANNOTATED, Array, MaskZYX, PixelSizeUm
from spixgraph.errors import InputError, StoredDataError
from spixgraph.files import atomic_path
from spixgraph.io._pixel_size import as_pixel_size
from spixgraph.io._writers import write_ome_tiff, write_ome_zarr, write_png
from spixgraph.io.images import open_stored
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
        mask = np.empty(source.info.shape_zyxc[:3], np.uint8)
        for box in stream_blocks(source.info.shape_zyxc):
            mask[box] = source.read(*box)[..., 0]
    return mask


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
        `.png` (Z = 1 only), `.tif` / `.tiff` (tiled, deflated OME-BigTIFF with the pixel size) or
        `.zarr` (OME-Zarr 0.5 with label metadata).
    mask : (Z, Y, X) uint8
        Read block by block, so that a memory map is not loaded.
    pixel_size_um : (z, y, x), optional
    class_names : sequence of str
        Name of class 0, 1, ...; written where the format has a place.
    colours : sequence of str
        `#rrggbb` of class 0, 1, ...; written as the palette of a PNG and as label colours.

    Raises
    ------
    InputError
        If the mask is not (Z, Y, X) uint8, the suffix is not known, or a PNG is asked for Z > 1.
    """
    if mask.ndim != 3 or mask.dtype != np.uint8 or 0 in mask.shape:
        raise InputError(f"mask must be (Z, Y, X) uint8, got shape {mask.shape} {mask.dtype}")
    if pixel_size_um is not None:
        pixel_size_um = as_pixel_size(pixel_size_um, "pixel_size_um")
    suffix = path.suffix.lower()
    if suffix not in (".png", ".tif", ".tiff", ".zarr"):
        raise InputError(f"{path} ends in {suffix!r}; masks are written as .png, .tif or .zarr")
    if suffix == ".png" and mask.shape[0] != 1:
        raise InputError(f"a PNG has no Z, but the mask has {mask.shape[0]} slices; write .tif")
    rgb = [_rgb(c) for c in colours]
    if rgb and class_names and len(rgb) != len(class_names):
        raise InputError(
            f"{len(class_names)} class names but {len(rgb)} colours; give one per class"
        )
    with atomic_path(path) as part:
        if suffix == ".png":
            write_png(part, mask, rgb)
        elif suffix == ".zarr":
            write_ome_zarr(part, path.name.split(".")[0], mask, pixel_size_um, class_names, rgb)
        else:
            shape = (mask.shape[0], mask.shape[1], mask.shape[2])
            write_ome_tiff(part, shape, lambda *box: mask[box], pixel_size_um)


def _rgb(colour: str) -> tuple[int, int, int]:
    """Read `#rrggbb`."""
    try:
        if len(colour) != 7 or colour[0] != "#":
            raise ValueError
        r, g, b = bytes.fromhex(colour[1:])
    except ValueError:
        raise InputError(f"colour {colour!r} is not #rrggbb") from None
    return r, g, b
