"""Pixel sizes as files state them, in micrometres; what is not stated is unknown."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import tifffile

from spixgraph.arrays import PixelSizeUm
from spixgraph.errors import InputError

_UM = {
    "m": 1e6, "meter": 1e6, "metre": 1e6,
    "cm": 1e4, "centimeter": 1e4,
    "mm": 1e3, "millimeter": 1e3,
    "um": 1.0, "µm": 1.0, "μm": 1.0, "\\u00b5m": 1.0, "micron": 1.0, "microns": 1.0,
    "micrometer": 1.0, "micrometre": 1.0,
    "nm": 1e-3, "nanometer": 1e-3,
    "pm": 1e-6, "picometer": 1e-6, "å": 1e-4, "angstrom": 1e-4, "inch": 25400.0,
}  # fmt: skip
_COARSEST_UM = 50.0  # coarser is the resolution of a screen or a printer: 72 dpi is 353 um


def as_pixel_size(values: Sequence[float], name: str) -> PixelSizeUm:
    """Return one number or (z, y, x) as a pixel size; one number holds along all axes.

    Raises
    ------
    InputError
        If there are not one or three numbers, or one is not finite and > 0.
    """
    if len(values) not in (1, 3) or not all(0 < v < float("inf") for v in values):
        raise InputError(
            f"{name} is {list(values)}; a pixel size is one number or three (z y x), in "
            "micrometres, > 0"
        )
    z, y, x = values if len(values) == 3 else (values[0],) * 3
    return (float(z), float(y), float(x))


def tiff_pixel_size(tif: tifffile.TiffFile, *, n_z: int) -> PixelSizeUm | None:
    """Read the pixel size from OME, ImageJ, Aperio or resolution metadata."""
    if tif.is_ome:
        z, y, x = _from_ome(tif.ome_metadata)
    elif tif.is_imagej:
        z, y, x = _from_imagej(tif)
    elif tif.is_svs:
        z, y, x = _from_aperio(tif)
    else:
        z, y, x = (None, *_from_resolution(tif.pages.first, unit=None))
    return _complete(z, y, x, n_z=n_z)


def ome_zarr_pixel_size(
    axes: Sequence[Mapping[str, Any]], scale: Sequence[float], *, n_z: int
) -> PixelSizeUm | None:
    """Read the pixel size from the axes and the scale of an OME-Zarr level."""
    sizes: dict[str, float | None] = {}
    for axis, value in zip(axes, scale, strict=False):
        factor = _UM.get(str(axis.get("unit", "")).lower())
        sizes[str(axis.get("name", "")).upper()] = value * factor if factor else None
    return _complete(sizes.get("Z"), sizes.get("Y"), sizes.get("X"), n_z=n_z)


def _complete(z: float | None, y: float | None, x: float | None, *, n_z: int) -> PixelSizeUm | None:
    """Return (z, y, x) where all that matter are stated: a 2D image has no z of its own."""
    if not y or not x or y <= 0 or x <= 0:
        return None
    if n_z == 1:
        return (y, y, x) if not z or z <= 0 else (z, y, x)
    return (z, y, x) if z and z > 0 else None


def _from_ome(xml: str | None) -> tuple[float | None, float | None, float | None]:
    ome: Any = tifffile.xml2dict(xml or "").get("OME", {})
    image = ome.get("Image", {})
    pixels = (image[0] if isinstance(image, list) else image).get("Pixels", {})
    z, y, x = (_ome_length(pixels, axis) for axis in "ZYX")
    return z, y, x


def _ome_length(pixels: Mapping[str, Any], axis: str) -> float | None:
    value = pixels.get(f"PhysicalSize{axis}")
    factor = _UM.get(str(pixels.get(f"PhysicalSize{axis}Unit", "µm")).lower())
    return float(value) * factor if value and factor else None


def _from_imagej(tif: tifffile.TiffFile) -> tuple[float | None, float | None, float | None]:
    meta = tif.imagej_metadata or {}
    factor = _UM.get(str(meta.get("unit", "")).lower())
    if factor is None:
        return None, None, None
    y, x = _from_resolution(tif.pages.first, unit=factor)
    spacing = meta.get("spacing")
    return (float(spacing) * factor if spacing else None), y, x


def _from_aperio(tif: tifffile.TiffFile) -> tuple[float | None, float | None, float | None]:
    found = re.search(r"\|\s*MPP\s*=\s*(\d+\.?\d*)", tif.pages.first.description)
    size = float(found[1]) if found else None
    return None, size, size


def _from_resolution(page: Any, *, unit: float | None) -> tuple[float | None, float | None]:
    """Read pixels per unit; `unit` is micrometres per unit, or the tag says it."""
    um_per_unit = unit or {2: 25400.0, 3: 1e4}.get(int(page.tags.valueof("ResolutionUnit") or 1))
    if um_per_unit is None:
        return None, None
    sizes = []
    for tag in ("YResolution", "XResolution"):
        above, below = page.tags.valueof(tag) or (0, 1)
        size = um_per_unit * below / above if above else None
        sizes.append(None if size is None or (unit is None and size > _COARSEST_UM) else size)
    return sizes[0], sizes[1]
