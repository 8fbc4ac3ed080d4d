"""The answer in the form that was asked for: TIFF, PNG, JSON, GeoJSON or a ZIP of all."""

import io
import json
import tempfile
import zipfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from spixgraph.arrays import Array, LabelsZYX, MaskZYX, PixelSizeUm, UInt8
from spixgraph.errors import InputError
from spixgraph.io.masks import write_mask
from spixgraph.predict.card import Card
from spixgraph.predict.driver import class_probabilities
from spixgraph.predict.outputs import write_card_mask, write_probabilities
from spixgraph.serve.polygons import polygons_of
from spixgraph.serve.segmenter import Segmented

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
    extras : collection of {"probabilities", "outlines"}
        What goes into the ZIP besides mask and areas; outlines also go into JSON.

    Raises
    ------
    InputError
        If a PNG is wanted of a volume, or the form cannot hold what is asked for.
    """
    if "probabilities" in extras and form != "zip":
        raise InputError("probabilities come beside the mask; ask for format=zip")
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
        value["outlines"] = run_lengths(outlines(segmented.found.labels))
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
        "classes": class_areas(mask, card, pixel_size_um),
        "mask": run_lengths(mask),
    }


def class_areas(
    mask: MaskZYX, card: Card, pixel_size_um: PixelSizeUm | None
) -> list[dict[str, Any]]:
    """Count the pixels of each class.

    Returns
    -------
    list of dict
        ``id, name, colour, pixels, fraction``, and where the pixel size is known the area as
        ``um2``, for a volume ``um3``.
    """
    pixels = np.bincount(mask.reshape(-1), minlength=256)
    unit = "um2" if mask.shape[0] == 1 else "um3"
    one = None
    if pixel_size_um is not None:
        one = float(np.prod(pixel_size_um[1:] if unit == "um2" else pixel_size_um))
    return [
        c.model_dump()
        | {"pixels": int(pixels[c.id]), "fraction": float(pixels[c.id] / mask.size)}
        | ({} if one is None else {unit: float(pixels[c.id] * one)})
        for c in card.classes
    ]


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


def outlines(labels: LabelsZYX) -> UInt8:
    """Mark the pixels whose right or lower neighbour is another superpixel: (Z, Y, X) 0 or 1."""
    marked = np.zeros(labels.shape, np.uint8)
    marked[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    marked[:, :, :-1] |= labels[:, :, :-1] != labels[:, :, 1:]
    return marked


def _zip(segmented: Segmented, card: Card, extras: Iterable[str]) -> bytes:
    """Pack mask.tif, areas.json and the extras; the same content gives the same bytes."""
    found, size = segmented.found, segmented.info.pixel_size_um
    with tempfile.TemporaryDirectory(prefix="spixgraph-") as name:
        folder = Path(name)
        write_card_mask(folder / "mask.tif", found.mask, card, size)
        areas = {"pixel_size_um": size, "classes": class_areas(found.mask, card, size)}
        (folder / "areas.json").write_bytes(_json(areas))
        if "outlines" in extras:
            write_mask(folder / "outlines.tif", outlines(found.labels), pixel_size_um=size)
        if "probabilities" in extras:
            shares = class_probabilities(found.logits)
            write_probabilities(folder / "probabilities.tif", found.labels, shares, card)
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for path in sorted(folder.iterdir()):
                entry = zipfile.ZipInfo(path.name)  # its date is 1980
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, path.read_bytes())
    return out.getvalue()


def _json(value: object) -> bytes:
    return (json.dumps(value, separators=(",", ":")) + "\n").encode()
