"""The answer in the form that was asked for: TIFF, PNG, JSON, GeoJSON or a ZIP of all."""

import io
import json
import tempfile
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from spixgraph.arrays import Array, MaskZYX, PixelSizeUm
from spixgraph.errors import InputError
from spixgraph.predict.card import Card
from spixgraph.predict.outputs import Results, class_areas, write_card_mask
from spixgraph.predict.painting import outlines_of
from spixgraph.predict.whole import write_segmentation
from spixgraph.serve.polygons import polygons_of
from spixgraph.serve.segmenter import Segmented

SHARES = ("probabilities", "uncertainty")
"""Extras that need the class probabilities of pixels."""
LAYERS = ("mask", *SHARES, "outlines")
Form = Literal["png", "tiff", "json", "geojson", "zip"]
FORMS: tuple[Form, ...] = get_args(Form)
MIME: dict[Form, str] = {
    "png": "image/png",
    "tiff": "image/tiff",
    "json": "application/json",
    "geojson": "application/geo+json",
    "zip": "application/zip",
}
FILE_SUFFIX: dict[Form, str] = {
    "png": ".png", "tiff": ".tif", "json": ".json", "geojson": ".geojson", "zip": ".zip",
}  # fmt: skip


def encode(
    segmented: Segmented,
    card: Card,
    form: Form,
    *,
    class_ids: Collection[int] = (),
    extras: Collection[str] = (),
) -> bytes:
    """Write a segmentation in one form.

    Parameters
    ----------
    segmented : Segmented
    card : Card
    form : {"png", "tiff", "json", "geojson", "zip"}
    class_ids : collection of int
        Classes to outline in GeoJSON; all by default.
    extras : collection of {"probabilities", "uncertainty", "outlines"}
        What goes into the ZIP besides mask and areas; outlines also go into JSON.

    Raises
    ------
    InputError
        If a PNG is wanted of a volume, or the form cannot hold what is asked for.
    """
    if form != "zip" and (name := next((n for n in SHARES if n in extras), None)):
        raise InputError(f"{name} comes beside the mask; ask for format=zip")
    if "outlines" in extras and form not in ("zip", "json"):
        raise InputError("outlines come beside the mask; ask for format=zip or format=json")
    mask, size = segmented.found.mask, segmented.info.pixel_size_um
    if form in ("png", "tiff"):
        return mask_file(mask, card, size, form)
    if form == "geojson":
        return _json(feature_collection(mask, card, class_ids))
    if form == "zip":
        return _zip(segmented, card, extras)
    value = mask_json(mask, card, size)
    if "outlines" in extras:
        value["outlines"] = run_lengths(outlines_of(segmented.found.labels) // 255)
    return _json(value)


def mask_file(
    mask: MaskZYX, card: Card, pixel_size_um: PixelSizeUm | None, form: Literal["png", "tiff"]
) -> bytes:
    """Return the bytes that `spixgraph segment` writes."""
    if form == "png" and mask.shape[0] > 1:
        raise InputError("a PNG holds no volume; ask for format=tiff")
    with tempfile.TemporaryDirectory(prefix="spixgraph-") as folder:
        path = Path(folder) / f"mask{FILE_SUFFIX[form]}"
        write_card_mask(path, mask, card, pixel_size_um)
        return path.read_bytes()


def mask_json(mask: MaskZYX, card: Card, pixel_size_um: PixelSizeUm | None) -> dict[str, Any]:
    """Return areas and the mask as runs of equal class ids."""
    return {
        "shape_zyx": list(mask.shape),
        "pixel_size_um": pixel_size_um,
        "classes": areas_of(mask, card, pixel_size_um),
        "mask": run_lengths(mask),
    }


def areas_of(mask: MaskZYX, card: Card, pixel_size_um: PixelSizeUm | None) -> list[dict[str, Any]]:
    """Count the pixels of each class; see `predict.outputs.class_areas`."""
    pixels = np.bincount(mask.reshape(-1), minlength=256)
    n_pixels = {c.id: int(pixels[c.id]) for c in card.classes}
    return class_areas(n_pixels, card, pixel_size_um, n_dims=2 if len(mask) == 1 else 3)


def run_lengths(values: Array) -> dict[str, Any]:
    """Code an array as runs of equal values, in the order z, y, x."""
    flat = values.reshape(-1)
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
    starts = np.append(0, ends[:-1])
    return {
        "encoding": "run-length",
        "order": "zyx",
        "values": flat[starts].tolist(),
        "lengths": (ends - starts).tolist(),
    }


def feature_collection(
    mask: MaskZYX, card: Card, class_ids: Collection[int] = ()
) -> dict[str, Any]:
    """Outline each class as GeoJSON that QuPath opens as annotations; coordinates are pixels.

    One feature per class and slice; that a class has no pixel in a slice is no feature.
    """
    unknown = sorted(set(class_ids) - {c.id for c in card.classes})
    if unknown:
        raise InputError(f"classes must be of {[c.id for c in card.classes]}, got {unknown}")
    wanted = [c for c in card.classes if not class_ids or c.id in class_ids]
    features = []
    for z, plane in enumerate(mask):
        for c in wanted:
            if polygons := polygons_of(plane == c.id):
                colour = list(bytes.fromhex(c.colour[1:]))
                properties = {
                    "objectType": "annotation",
                    "classification": {"name": c.name, "color": colour},
                    "class_id": c.id,
                }
                geometry: dict[str, Any] = {"type": "MultiPolygon", "coordinates": polygons}
                if len(mask) > 1:
                    geometry["plane"] = {"c": -1, "z": z, "t": 0}
                    properties["z"] = z
                features.append({"type": "Feature", "properties": properties, "geometry": geometry})
    return {"type": "FeatureCollection", "features": features}


def _zip(segmented: Segmented, card: Card, extras: Collection[str]) -> bytes:
    """Pack mask.tif, areas.json and the extras; the same content gives the same bytes."""
    found, size = segmented.found, segmented.info.pixel_size_um
    with tempfile.TemporaryDirectory(prefix="spixgraph-") as name:
        folder = Path(name)
        paths = {extra: folder / f"{extra}.tif" for extra in extras}
        write_segmentation(found, card, Results(folder / "mask.tif", **paths), size)
        areas = {"pixel_size_um": size, "classes": areas_of(found.mask, card, size)}
        (folder / "areas.json").write_bytes(_json(areas))
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for path in sorted(folder.iterdir()):
                entry = zipfile.ZipInfo(path.name)  # its date is 1980
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, path.read_bytes())
    return out.getvalue()


def _json(value: object) -> bytes:
    return (json.dumps(value, separators=(",", ":")) + "\n").encode()
