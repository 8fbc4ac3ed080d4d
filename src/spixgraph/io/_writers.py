"""One writer per format: from the tiles of a pyramid, or pulled from a caller.

The caller sees to checks and atomic names.
"""

import struct
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile
import zarr
from PIL import Image
from zarr.codecs import ZstdCodec

from spixgraph.arrays import NOT_ANNOTATED, PixelSizeUm, ShapeZYX, UInt8
from spixgraph.io._tiles import TILE_PX, TileRows
from spixgraph.io.source import stream_blocks
from spixgraph.threads import ahead

Rgb = tuple[int, int, int]
ReadBlock = Callable[[slice, slice, slice], UInt8]
"""Gives a (Z, Y, X) block."""

_CHUNK_PX = 2 * TILE_PX
_GREY: Rgb = (128, 128, 128)


@dataclass(frozen=True, slots=True)
class Described:
    """What a file says besides its pixels.

    Attributes
    ----------
    axes : str
        Of the planes and of a plane: "YX", "ZYX", "CYX" or "CZYX".
    lead : tuple of int
        Lengths of the axes before YX.
    pixel_size_um : (z, y, x), optional
    names, colours : sequence
        Of the channels where there is C, else of the classes.
    """

    axes: str
    lead: tuple[int, ...]
    pixel_size_um: PixelSizeUm | None = None
    names: Sequence[str] = ()
    colours: Sequence[Rgb] = ()


def write_png(path: Path, pixels: UInt8) -> None:
    """Write (1, Y, X) as grey; values stay the same."""
    Image.fromarray(np.ascontiguousarray(pixels[0])).save(path, "PNG")


def finish_png(path: Path, tiles: TileRows, about: Described, pool: ThreadPoolExecutor) -> None:
    """Write plane 0 as grey, or with a palette where there are colours, row of tiles by row."""
    height, width = tiles.shapes_yx[0]
    kind = 3 if about.colours else 0
    packer = zlib.compressobj()
    with path.open("wb") as out:
        out.write(b"\x89PNG\r\n\x1a\n")
        _png_chunk(out, b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))
        if about.colours:
            palette = np.zeros((256, 3), np.uint8)
            palette[NOT_ANNOTATED] = _GREY
            palette[: len(about.colours)] = about.colours
            _png_chunk(out, b"PLTE", palette.tobytes())
        for rows in ahead(pool, lambda place: tiles.read(0, *place), list(tiles.rows(0))):
            lines = np.pad(rows, ((0, 0), (1, 0)))  # each line begins with its filter, none
            _png_chunk(out, b"IDAT", packer.compress(lines.tobytes()))
        _png_chunk(out, b"IDAT", packer.flush())
        _png_chunk(out, b"IEND", b"")


def _png_chunk(out: BinaryIO, name: bytes, data: bytes) -> None:
    out.write(struct.pack(">I", len(data)) + name + data)
    out.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(name))))


def finish_tiff(path: Path, tiles: TileRows, about: Described, pool: ThreadPoolExecutor) -> None:
    """Write a tiled, deflated OME-BigTIFF, its pyramid in SubIFDs."""
    meta = _ome_meta(about)
    with tifffile.TiffWriter(path, bigtiff=True, ome=True) as tif:
        for level, shape_yx in enumerate(tiles.shapes_yx):
            rows = ahead(pool, partial(_tiles_of, tiles, level), list(tiles.rows(level)))
            first = {"subifds": len(tiles.shapes_yx) - 1, "metadata": meta}
            tif.write(
                (tile for row in rows for tile in row),
                shape=(*about.lead, *shape_yx), dtype=np.uint8, tile=(TILE_PX, TILE_PX),
                compression="zlib", photometric="minisblack",
                **_resolution(about.pixel_size_um, 2**level),
                **(first if level == 0 else {"subfiletype": 1, "metadata": None}),
            )  # fmt: skip


def _tiles_of(tiles: TileRows, level: int, place: tuple[int, int]) -> list[bytes]:
    return tiles.tiles(level, *place)


def _ome_meta(about: Described) -> dict[str, Any]:
    # a fixed UUID keeps the bytes equal; it links the files of a set, and this set is one file
    meta: dict[str, Any] = {"axes": about.axes, "UUID": str(uuid.UUID(int=0))}
    if about.pixel_size_um is not None:
        for axis, size in zip("ZYX", about.pixel_size_um, strict=True):
            meta |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "µm"}
    if "C" in about.axes and about.names:
        meta["Channel"] = {"Name": list(about.names)}
    return meta


def _resolution(pixel_size_um: PixelSizeUm | None, step: int) -> dict[str, Any]:
    if pixel_size_um is None:
        return {}
    per_cm = (1e4 / pixel_size_um[2] / step, 1e4 / pixel_size_um[1] / step)
    return {"resolution": per_cm, "resolutionunit": "CENTIMETER"}


def write_ome_tiff(
    path: Path, shape_zyx: ShapeZYX, read: ReadBlock, pixel_size_um: PixelSizeUm | None
) -> None:
    """Write what `read` gives, tile by tile, as a deflated BigTIFF with OME metadata."""
    shape = shape_zyx if shape_zyx[0] > 1 else shape_zyx[1:]
    about = Described("ZYX"[-len(shape) :], shape[:-2], pixel_size_um)
    with tifffile.TiffWriter(path, bigtiff=True, ome=True) as tif:
        tif.write(
            _pulled_tiles(shape_zyx, read), shape=shape, dtype=np.uint8, tile=(TILE_PX, TILE_PX),
            compression="zlib", photometric="minisblack", metadata=_ome_meta(about),
            **_resolution(pixel_size_um, 1),
        )  # fmt: skip


def _pulled_tiles(shape_zyx: ShapeZYX, read: ReadBlock) -> Iterator[UInt8]:
    """Yield tiles in the order of a TIFF, the last ones filled up."""
    for box in stream_blocks((*shape_zyx, 1), (1, TILE_PX, TILE_PX)):
        tile = np.zeros((TILE_PX, TILE_PX), np.uint8)
        block = read(*box)[0]
        tile[: block.shape[0], : block.shape[1]] = block
        yield tile


def finish_zarr(
    path: Path, name: str, tiles: TileRows, about: Described, pool: ThreadPoolExecutor
) -> None:
    """Write OME-Zarr 0.5 with its pyramid; class ids get `image-label` metadata."""
    multiscale = {
        "name": name,
        "axes": [_axis(a, about.pixel_size_um) for a in about.axes.lower()],
        "datasets": [
            {"path": str(k), "coordinateTransformations": _transforms(k, about)}
            for k in range(len(tiles.shapes_yx))
        ],
    }
    ome: dict[str, Any] = {"version": "0.5", "multiscales": [multiscale]}
    if "C" in about.axes:
        ome["omero"] = {"channels": [_channel(n) for n in about.names]}
    else:
        ome["image-label"] = _image_label(about)
    group = zarr.create_group(path, zarr_format=3, attributes={"ome": ome})
    for level in range(len(tiles.shapes_yx)):
        _write_level(group, level, tiles, about, pool)


def _axis(axis: str, pixel_size_um: PixelSizeUm | None) -> dict[str, str]:
    if axis == "c":
        return {"name": axis, "type": "channel"}
    unit = {} if pixel_size_um is None else {"unit": "micrometer"}
    return {"name": axis, "type": "space"} | unit


def _transforms(level: int, about: Described) -> list[dict[str, Any]]:
    """Give the size of a pixel, and the place of the first one: the middle of those it is of."""
    z, y, x = about.pixel_size_um or (1.0, 1.0, 1.0)
    step = 2**level
    scale = {"C": 1.0, "Z": z, "Y": y * step, "X": x * step}
    shift = {"C": 0.0, "Z": 0.0, "Y": y * (step - 1) / 2, "X": x * (step - 1) / 2}
    return [
        {"type": "scale", "scale": [scale[a] for a in about.axes]},
        {"type": "translation", "translation": [shift[a] for a in about.axes]},
    ]


def _channel(name: str) -> dict[str, Any]:
    window = {"start": 0, "end": 255, "min": 0, "max": 255}
    return {"label": name, "color": "FFFFFF", "window": window, "active": True}


def _write_level(
    group: zarr.Group, level: int, tiles: TileRows, about: Described, pool: ThreadPoolExecutor
) -> None:
    """Copy a level, two rows of tiles to a row of chunks."""
    n_y, n_x = tiles.shapes_yx[level]
    array = group.create_array(
        str(level),
        shape=(*about.lead, n_y, n_x),
        chunks=(*[1] * len(about.lead), min(_CHUNK_PX, n_y), min(_CHUNK_PX, n_x)),
        dtype="uint8",
        compressors=ZstdCodec(level=1),
        dimension_names=tuple(about.axes.lower()),
    )

    def copy(place: tuple[int, int]) -> None:
        plane, row = place
        pair = [r for r in (row, row + 1) if r * TILE_PX < n_y]
        pixels = np.concatenate([tiles.read(level, plane, r) for r in pair])
        index: list[int | slice] = [int(i) for i in np.unravel_index(plane, about.lead or (1,))]
        index = [*index[: len(about.lead)], slice(row * TILE_PX, row * TILE_PX + len(pixels))]
        array[tuple(index)] = pixels

    for _ in ahead(pool, copy, [(p, r) for p, r in tiles.rows(level) if r % 2 == 0]):
        pass


def _image_label(about: Described) -> dict[str, Any]:
    """Write colours and names of the classes; class 0 is transparent, as viewers have it."""
    label: dict[str, Any] = {"version": "0.5"}
    if about.colours:
        rgba = [(k, [*rgb, 255 if k else 0]) for k, rgb in enumerate(about.colours)]
        rgba.append((NOT_ANNOTATED, [*_GREY, 255]))
        label["colors"] = [{"label-value": k, "rgba": c} for k, c in rgba]
    if about.names:
        names = [*enumerate(about.names), (NOT_ANNOTATED, "not annotated")]
        label["properties"] = [{"label-value": k, "name": name} for k, name in names]
    return label
