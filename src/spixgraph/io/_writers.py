"""One writer per format; the caller sees to checks and atomic names."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from PIL import Image

from spixgraph.arrays import NOT_ANNOTATED, MaskZYX, PixelSizeUm, ShapeZYX, UInt8
from spixgraph.io.source import stream_blocks

Rgb = tuple[int, int, int]
ReadBlock = Callable[[slice, slice, slice], UInt8]
"""Gives a (Z, Y, X) block."""

_TILE_PX = 512
_SMALLEST_LEVEL_PX = 1024
_GREY: Rgb = (128, 128, 128)


def write_png(path: Path, pixels: UInt8, colours: Sequence[Rgb] = ()) -> None:
    """Write (1, Y, X) as grey, or with a palette where there are colours; values stay the same."""
    image = Image.fromarray(np.ascontiguousarray(pixels[0]))
    if colours:
        palette = np.zeros((256, 3), np.uint8)
        palette[NOT_ANNOTATED] = _GREY
        palette[: len(colours)] = colours
        image.putpalette(palette.tobytes())
    image.save(path, "PNG")


def write_ome_tiff(
    path: Path, shape_zyx: ShapeZYX, read: ReadBlock, pixel_size_um: PixelSizeUm | None
) -> None:
    """Write what `read` gives, tile by tile, as a deflated BigTIFF with OME metadata."""
    shape = shape_zyx if shape_zyx[0] > 1 else shape_zyx[1:]
    # a fixed UUID keeps the bytes equal; it links the files of a set, and this set is one file
    meta: dict[str, Any] = {"axes": "ZYX"[-len(shape) :], "UUID": str(uuid.UUID(int=0))}
    resolution: dict[str, Any] = {}
    if pixel_size_um is not None:
        for axis, size in zip("ZYX", pixel_size_um, strict=True):
            meta |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "µm"}
        per_cm = (1e4 / pixel_size_um[2], 1e4 / pixel_size_um[1])
        resolution = {"resolution": per_cm, "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path, bigtiff=True, ome=True) as tif:
        tif.write(
            _tiles(shape_zyx, read), shape=shape, dtype=np.uint8, tile=(_TILE_PX, _TILE_PX),
            compression="zlib", photometric="minisblack", metadata=meta, **resolution,
        )  # fmt: skip


def _tiles(shape_zyx: ShapeZYX, read: ReadBlock) -> Iterator[UInt8]:
    """Yield tiles in the order of a TIFF, the last ones filled up."""
    for box in stream_blocks((*shape_zyx, 1), (1, _TILE_PX, _TILE_PX)):
        tile = np.zeros((_TILE_PX, _TILE_PX), np.uint8)
        block = read(*box)[0]
        tile[: block.shape[0], : block.shape[1]] = block
        yield tile


def write_ome_zarr(
    path: Path,
    name: str,
    mask: MaskZYX,
    pixel_size_um: PixelSizeUm | None,
    class_names: Sequence[str],
    colours: Sequence[Rgb],
) -> None:
    """Write OME-Zarr 0.5 with a pyramid by every second pixel and `image-label` metadata."""
    n_levels = 1
    while max(mask.shape[1:]) > _SMALLEST_LEVEL_PX << (n_levels - 1):
        n_levels += 1
    axes = "zyx" if mask.shape[0] > 1 else "yx"
    multiscale = {
        "name": name,
        "axes": [_axis(a, pixel_size_um) for a in axes],
        "datasets": [
            {"path": str(k), "coordinateTransformations": [_scale(k, pixel_size_um, axes)]}
            for k in range(n_levels)
        ],
    }
    label = _image_label(class_names, colours)
    ome = {"version": "0.5", "multiscales": [multiscale], "image-label": label}
    group = zarr.create_group(path, zarr_format=3, attributes={"ome": ome})
    for k in range(n_levels):
        _write_level(group, str(k), mask, step=2**k)


def _axis(axis: str, pixel_size_um: PixelSizeUm | None) -> dict[str, str]:
    unit = {} if pixel_size_um is None else {"unit": "micrometer"}
    return {"name": axis, "type": "space"} | unit


def _scale(level: int, pixel_size_um: PixelSizeUm | None, axes: str) -> dict[str, Any]:
    z, y, x = pixel_size_um or (1.0, 1.0, 1.0)
    return {"type": "scale", "scale": [z, y * 2**level, x * 2**level][-len(axes) :]}


def _write_level(group: zarr.Group, name: str, mask: MaskZYX, *, step: int) -> None:
    """Write every `step`-th pixel, chunk by chunk."""
    n_z, n_y, n_x = mask.shape[0], -(-mask.shape[1] // step), -(-mask.shape[2] // step)
    chunk: ShapeZYX = (16, 256, 256) if n_z > 1 else (1, 1024, 1024)
    used = tuple(min(c, n) for c, n in zip(chunk, (n_z, n_y, n_x), strict=True))
    n_axes = 3 if n_z > 1 else 2
    array = group.create_array(
        name,
        shape=(n_z, n_y, n_x)[-n_axes:],
        chunks=used[-n_axes:],
        dtype="uint8",
        dimension_names=tuple("zyx"[-n_axes:]),
    )
    for z, y, x in stream_blocks((n_z, n_y, n_x, 1), chunk):
        block = mask[
            z, y.start * step : y.stop * step : step, x.start * step : x.stop * step : step
        ]
        array[(z, y, x)[-n_axes:]] = block if n_axes == 3 else block[0]


def _image_label(class_names: Sequence[str], colours: Sequence[Rgb]) -> dict[str, Any]:
    """Write colours and names of the classes; class 0 is transparent, as viewers have it."""
    label: dict[str, Any] = {"version": "0.5"}
    if colours:
        rgba = [(k, [*rgb, 255 if k else 0]) for k, rgb in enumerate(colours)]
        rgba.append((NOT_ANNOTATED, [*_GREY, 255]))
        label["colors"] = [{"label-value": k, "rgba": c} for k, c in rgba]
    if class_names:
        names = [*enumerate(class_names), (NOT_ANNOTATED, "not annotated")]
        label["properties"] = [{"label-value": k, "name": name} for k, name in names]
    return label
