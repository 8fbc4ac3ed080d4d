"""Synthetic micrographs of any size, with exact masks.

Every block is computed from the seed alone and is the same however the image is cut, so that a
gigapixel is written without being held. Intensity alone does not tell the classes apart.
"""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np

from spixgraph.arrays import Array, MaskZYX, PixelSizeUm, ShapeZYX, UInt8
from spixgraph.errors import InputError
from spixgraph.files import atomic_path
from spixgraph.io._phantoms import colonies, layers, nuclei
from spixgraph.io._writers import ReadBlock, write_ome_tiff, write_png
from spixgraph.io.source import Box, ImageInfo, ImageSource, resolve_box

PhantomKind = Literal["colonies", "nuclei3d", "layers"]
PHANTOM_KINDS: tuple[PhantomKind, ...] = get_args(PhantomKind)

_LARGEST_PNG_PX = 2**22
_SPLIT_OF_FIVE = ("train", "val", "test", "train", "train")


class _Painter(Protocol):
    """A module that draws one kind of phantom."""

    @property
    def CLASS_NAMES(self) -> tuple[str, ...]: ...
    @property
    def PIXEL_SIZE_UM(self) -> PixelSizeUm: ...
    def draw(self, seed: int, box: Box) -> UInt8: ...
    def draw_mask(self, seed: int, box: Box) -> UInt8: ...


_PAINTERS: dict[PhantomKind, _Painter] = {
    "colonies": colonies,
    "nuclei3d": nuclei,
    "layers": layers,
}
PHANTOM_CLASSES: dict[PhantomKind, tuple[str, ...]] = {
    kind: painter.CLASS_NAMES for kind, painter in _PAINTERS.items()
}
"""Names of class 0, 1, ... of each kind."""


class PhantomSource(ImageSource):
    """A synthetic image and its mask, computed where they are asked for."""

    def __init__(self, painter: _Painter, shape_zyx: ShapeZYX, seed: int) -> None:
        self._painter, self._seed = painter, seed
        self.info = ImageInfo((*shape_zyx, 1), np.dtype(np.uint8), painter.PIXEL_SIZE_UM)

    def read(self, z: slice, y: slice, x: slice) -> Array:
        """Return (Z, Y, X, 1) uint8, see `ImageSource.read`."""
        return self.read_grey(z, y, x)[..., None]

    def read_grey(self, z: slice, y: slice, x: slice) -> UInt8:
        """Return (Z, Y, X) uint8, the one channel."""
        return self._painter.draw(self._seed, resolve_box(z, y, x, self.info.shape_zyxc))

    def read_mask(self, z: slice, y: slice, x: slice) -> MaskZYX:
        """Return the (Z, Y, X) uint8 class ids of a block."""
        return self._painter.draw_mask(self._seed, resolve_box(z, y, x, self.info.shape_zyxc))


def make_phantom(kind: PhantomKind, shape_zyx: ShapeZYX, *, seed: int) -> PhantomSource:
    """Make a synthetic micrograph with its mask.

    Parameters
    ----------
    kind : 'colonies', 'nuclei3d' or 'layers'
        Phase contrast of cell colonies (2D); confocal stack of touching nuclei, anisotropic;
        cross-section of a coated material with cracks of some 0.2 % of the pixels (2D).
        `PHANTOM_CLASSES` names the classes.
    shape_zyx : three int
        Z is 1 for the 2D kinds. A larger image shows more, the upper left part stays the same.
    seed : int
        0..2^31 - 1; another seed is another image.

    Returns
    -------
    source : PhantomSource
        uint8, one channel. Nothing is computed before a block is read.

    Raises
    ------
    InputError
        If the kind is not known, an axis has no pixel, a 2D kind is asked for Z > 1 or the seed
        is out of range.
    """
    if kind not in _PAINTERS:
        raise InputError(f"phantom {kind!r} is none of {', '.join(PHANTOM_KINDS)}")
    if len(shape_zyx) != 3 or min(shape_zyx) < 1:
        raise InputError(f"shape_zyx={shape_zyx} must be three numbers >= 1: z, y, x")
    if kind != "nuclei3d" and shape_zyx[0] != 1:
        raise InputError(f"phantom {kind} is 2D, but z is {shape_zyx[0]}; use z = 1 or nuclei3d")
    _require_seed(seed)
    return PhantomSource(_PAINTERS[kind], shape_zyx, seed)


def write_phantom_dataset(
    out: Path,
    *,
    kind: PhantomKind,
    n_images: int,
    shape_zyx: ShapeZYX,
    seed: int,
    on_pixels: Callable[[int], None] = lambda _: None,
) -> None:
    """Write images/, masks/ and manifest.csv of synthetic images, atomically.

    Parameters
    ----------
    out : Path
        A new folder. Small 2D images become PNG, others OME-TIFF written tile by tile.
    kind, shape_zyx
        See `make_phantom`.
    n_images : int
        At least 3: three of five go to train, one to val, one to test.
    seed : int
        Each image has a seed of its own, drawn from this one.
    on_pixels : callable
        Called with the number of pixels of each block that is computed, image or mask.

    Raises
    ------
    InputError
        As `make_phantom`; and if there are fewer than 3 images, or `out` exists.
    """
    if n_images < 3:
        raise InputError(f"n_images={n_images}, at least 3 fill train, val and test")
    if out.exists():
        raise InputError(f"{out} exists; name a new folder or remove it")
    _require_seed(seed)
    seeds = np.random.SeedSequence(seed).generate_state(n_images) >> np.uint32(1)
    sources = [make_phantom(kind, shape_zyx, seed=s) for s in seeds.tolist()]
    suffix = (
        "png" if shape_zyx[0] == 1 and shape_zyx[1] * shape_zyx[2] <= _LARGEST_PNG_PX else "tif"
    )
    with atomic_path(out) as part:
        rows = []
        for k, source in enumerate(sources):
            name = f"{kind}_{k:03d}"
            row = {"id": name} | {c: f"{c}s/{name}.{suffix}" for c in ("image", "mask")}
            _write_pixels(part / row["image"], source, source.read_grey, on_pixels)
            _write_pixels(part / row["mask"], source, source.read_mask, on_pixels)
            size = " ".join(map(str, source.info.pixel_size_um or ()))
            rows.append(
                row | {"group": name, "split": _SPLIT_OF_FIVE[k % 5], "pixel_size_um": size}
            )
        _write_manifest(part / "manifest.csv", rows)


def _require_seed(seed: int) -> None:
    """Refuse a seed that does not fit 31 bits."""
    if not 0 <= seed < 2**31:
        raise InputError(f"seed {seed} must be 0..{2**31 - 1}")


def _write_pixels(
    path: Path, source: PhantomSource, read: ReadBlock, on_pixels: Callable[[int], None]
) -> None:
    """Write the image or the mask of a phantom by the suffix of `path`."""

    def counted(z: slice, y: slice, x: slice) -> UInt8:
        block = read(z, y, x)
        on_pixels(block.size)
        return block

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        write_png(path, counted(slice(None), slice(None), slice(None)))
    else:
        write_ome_tiff(path, source.info.shape_zyxc[:3], counted, source.info.pixel_size_um)


def _write_manifest(path: Path, rows: list[dict[str, str]]) -> None:
    """Write the table of a data set."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
