"""Masks and 8 bit channels of any size, written strip by strip, with a pyramid at the end.

A tile of any level of such a TIFF is read alone, so that a viewer can look at gigapixels.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile

from spixgraph.arrays import PixelSizeUm, ShapeZYX, UInt8
from spixgraph.errors import InputError
from spixgraph.files import atomic_path
from spixgraph.io._pixel_size import as_pixel_size
from spixgraph.io._tiles import (
    TILE_PX,
    Reduce,
    TileRows,
    level_shapes,
    mean_of_four,
    mode_of_four,
)
from spixgraph.io._writers import Described, Rgb, finish_png, finish_tiff, finish_zarr
from spixgraph.threads import ahead

__all__ = [
    "CHANNEL_SUFFIXES",
    "LARGEST_PNG_PX",
    "MASK_SUFFIXES",
    "STRIP_PX",
    "PyramidWriter",
    "channel_writer",
    "level_shapes",
    "mask_writer",
    "read_tiles",
    "require_mask_path",
    "require_suffix",
]

STRIP_PX = TILE_PX
"""Height of a strip; the last one of a plane may be lower."""
MASK_SUFFIXES = (".png", ".tif", ".tiff", ".zarr")
CHANNEL_SUFFIXES = (".tif", ".tiff", ".zarr")
LARGEST_PNG_PX = 1 << 28


class PyramidWriter:
    """Planes of uint8 on their way to a file.

    Strips come in any order and from several threads; they wait, deflated, in `folder`. `finish`
    makes the pyramid and the file. Only strips are held in memory, whatever the size.

    Parameters
    ----------
    path : Path
        The file to make.
    about : Described
    shape_yx : two int
        Of a plane.
    reduce : callable
        Makes a level of the pyramid of the one before.
    folder : Path
        Where strips wait. Strips that it holds are kept, so that a stopped run can go on.
    workers : int
        Threads of `finish`; the bytes do not depend on it.
    """

    def __init__(
        self,
        path: Path,
        about: Described,
        shape_yx: tuple[int, int],
        *,
        reduce: Reduce,
        folder: Path,
        workers: int = 1,
    ) -> None:
        self._path, self._about, self._reduce, self._workers = path, about, reduce, workers
        self._tiles = TileRows(folder, math.prod(about.lead), shape_yx)

    @property
    def n_planes(self) -> int:
        """Number of planes."""
        return self._tiles.n_planes

    def holds(self, plane: int, strip: int) -> bool:
        """Whether a strip is complete."""
        return self._tiles.holds(0, plane, strip)

    def write(self, plane: int, strip: int, pixels: UInt8) -> None:
        """Take the pixels of a strip: rows ``strip * STRIP_PX`` and on, (h, X) uint8.

        Raises
        ------
        InputError
            If there is no such strip, or its shape or dtype is another.
        """
        height, width = self._tiles.shapes_yx[0]
        wanted = (min(STRIP_PX, height - strip * STRIP_PX), width)
        if not 0 <= plane < self._tiles.n_planes or strip < 0 or wanted[0] <= 0:
            raise InputError(f"there is no plane {plane}, strip {strip} in {self._path}")
        if pixels.shape != wanted or pixels.dtype != np.uint8:
            raise InputError(
                f"strip {strip} must be {wanted} uint8, got {pixels.shape} {pixels.dtype}"
            )
        self._tiles.write(0, plane, strip, pixels)

    def counts(self, values: UInt8) -> list[int]:
        """Count the pixels of some values, over all planes."""

        def count(place: tuple[int, int]) -> list[int]:
            pixels = self._tiles.read(0, *place)
            return [int(np.count_nonzero(pixels == value)) for value in values]

        with ThreadPoolExecutor(self._workers) as pool:
            rows = list(ahead(pool, count, list(self._tiles.rows(0))))
        return [sum(column) for column in zip(*rows, strict=True)]

    def finish(self) -> None:
        """Make the file, whole or not at all; the strips stay in their folder.

        Raises
        ------
        InputError
            If strips lack.
        """
        lacking = [place for place in self._tiles.rows(0) if not self.holds(*place)]
        if lacking:
            raise InputError(f"{len(lacking)} strips of {self._path} lack, {lacking[0]} first")
        suffix = self._path.suffix.lower()
        with ThreadPoolExecutor(self._workers) as pool, atomic_path(self._path) as part:
            if suffix == ".png":
                finish_png(part, self._tiles, self._about, pool)
                return
            self._tiles.build(self._reduce, pool)
            if suffix == ".zarr":
                name = self._path.name.split(".")[0]
                finish_zarr(part, name, self._tiles, self._about, pool)
            else:
                finish_tiff(part, self._tiles, self._about, pool)


def mask_writer(
    path: Path,
    shape_zyx: ShapeZYX,
    *,
    folder: Path,
    pixel_size_um: PixelSizeUm | None = None,
    class_names: Sequence[str] = (),
    colours: Sequence[str] = (),
    workers: int = 1,
) -> PyramidWriter:
    """Begin a mask of class ids; plane z is slice z.

    A level of the pyramid has the most frequent class of each 2 x 2 pixels, of equally frequent
    ones the first.

    Parameters
    ----------
    path : Path
        See `io.masks.write_mask`.
    shape_zyx : three int
    pixel_size_um, class_names, colours
        See `io.masks.write_mask`.
    folder, workers
        See `PyramidWriter`.

    Raises
    ------
    InputError
        See `io.masks.write_mask`.
    """
    require_mask_path(path, shape_zyx)
    rgb = [_rgb(c) for c in colours]
    if rgb and class_names and len(rgb) != len(class_names):
        raise InputError(
            f"{len(class_names)} class names but {len(rgb)} colours; give one per class"
        )
    n_z, n_y, n_x = shape_zyx
    about = Described(
        axes="YX" if n_z == 1 else "ZYX",
        lead=() if n_z == 1 else (n_z,),
        pixel_size_um=None if pixel_size_um is None else as_pixel_size(pixel_size_um, "pixel size"),
        names=class_names,
        colours=rgb,
    )
    return PyramidWriter(
        path, about, (n_y, n_x), reduce=mode_of_four, folder=folder, workers=workers
    )


def channel_writer(
    path: Path,
    shape_zyx: ShapeZYX,
    names: Sequence[str],
    *,
    folder: Path,
    pixel_size_um: PixelSizeUm | None = None,
    workers: int = 1,
) -> PyramidWriter:
    """Begin 8 bit channels, such as class probabilities; axes CYX, or CZYX in 3D.

    Plane ``c * Z + z`` is slice z of channel c. A level of the pyramid averages 2 x 2 pixels.

    Raises
    ------
    InputError
        If `path` ends in something else than `CHANNEL_SUFFIXES`.
    """
    require_suffix(path, CHANNEL_SUFFIXES)
    n_z, n_y, n_x = shape_zyx
    lead = (len(names),) if n_z == 1 else (len(names), n_z)
    about = Described("CYX" if n_z == 1 else "CZYX", lead, pixel_size_um, names=names)
    return PyramidWriter(
        path, about, (n_y, n_x), reduce=mean_of_four, folder=folder, workers=workers
    )


def read_tiles(path: Path, level: int, first: int, step: int, y: int, x: int) -> UInt8 | None:
    """Read one tile of some planes of a TIFF made here; nothing else of the file is decoded.

    Parameters
    ----------
    path : Path
        `.tif` of `PyramidWriter`.
    level : int
        0 is the finest.
    first, step : int
        Planes ``first``, ``first + step``, ...: with the number of slices as the step, all
        channels of a slice.
    y, x : int
        Row and column of the tile in its level.

    Returns
    -------
    pixels : (planes, h, w) uint8, or None if there is no such tile
        At most `STRIP_PX` high and wide.
    """
    with tifffile.TiffFile(path) as tif:
        levels = tif.series[0].levels
        if not 0 <= level < len(levels) or not 0 <= first < step:
            return None
        height, width = levels[level].shape[-2:]
        n_x = -(-width // TILE_PX)
        if not (0 <= y < -(-height // TILE_PX) and 0 <= x < n_x):
            return None
        tiles = []
        for page in levels[level].pages[first::step]:
            tif.filehandle.seek(page.dataoffsets[y * n_x + x])
            data = tif.filehandle.read(page.databytecounts[y * n_x + x])
            tile = np.frombuffer(imagecodecs.zlib_decode(data, out=TILE_PX**2), np.uint8)
            tiles.append(tile.reshape(TILE_PX, TILE_PX))
    return np.stack(tiles)[:, : height - y * TILE_PX, : width - x * TILE_PX]


def require_mask_path(path: Path, shape_zyx: ShapeZYX) -> None:
    """Refuse a mask that its format cannot hold.

    Raises
    ------
    InputError
        On another suffix, or a PNG of several slices or of more than `LARGEST_PNG_PX` pixels, since
        whoever opens a PNG holds all of it.
    """
    require_suffix(path, MASK_SUFFIXES)
    if path.suffix.lower() != ".png":
        return
    n_z, n_y, n_x = shape_zyx
    if n_z != 1:
        raise InputError(f"{path}: a PNG has no Z, the mask has {n_z} slices; write .tif or .zarr")
    if n_y * n_x > LARGEST_PNG_PX:
        raise InputError(
            f"{path} would have {n_y * n_x / 1e6:,.0f} megapixels, {LARGEST_PNG_PX / 1e6:,.0f} are "
            "the limit of a PNG; write .tif or .zarr"
        )


def require_suffix(path: Path, suffixes: tuple[str, ...]) -> None:
    """Refuse a file name that ends otherwise."""
    if path.suffix.lower() not in suffixes:
        raise InputError(f"{path} must end in one of {', '.join(suffixes)}")


def _rgb(colour: str) -> Rgb:
    """Read `#rrggbb`."""
    try:
        if len(colour) != 7 or colour[0] != "#":
            raise ValueError
        r, g, b = bytes.fromhex(colour[1:])
    except ValueError:
        raise InputError(f"colour {colour!r} is not #rrggbb") from None
    return r, g, b
