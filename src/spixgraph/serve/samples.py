"""Images to try the service on: the operator's, and synthetic ones that suit the model."""

from pathlib import Path

import numpy as np
import tifffile

from spixgraph.errors import InputError
from spixgraph.io.images import is_image
from spixgraph.io.phantoms import PhantomKind, make_phantom
from spixgraph.predict.card import Card

_SHAPES: dict[PhantomKind, tuple[int, int, int]] = {
    "colonies": (1, 1024, 1024),
    "layers": (1, 1024, 1024),
    "nuclei3d": (16, 256, 256),
}
_ALL = slice(None)


def sample_names(card: Card, folder: Path | None) -> list[str]:
    """Name the samples: files of the folder, then phantoms of the model's dimensions."""
    files = [] if folder is None else sorted(p.name for p in folder.iterdir() if is_image(p))
    kinds = [kind for kind, shape in _SHAPES.items() if (shape[0] > 1) == (card.n_dims == 3)]
    return [*files, *(f"synthetic {kind}" for kind in kinds)]


def sample_image(name: str, card: Card, folder: Path | None, out: Path) -> Path:
    """Return the file of a sample; a synthetic one is written to `out`, a `.tif`.

    Raises
    ------
    InputError
        If there is no such sample.
    """
    names = sample_names(card, folder)
    if name not in names:
        raise InputError(f"there is no sample {name[:50]!r}; there are: {', '.join(names)}")
    if folder is not None and (folder / name).exists():
        return folder / name
    kind = next(kind for kind in _SHAPES if name == f"synthetic {kind}")
    source = make_phantom(kind, _SHAPES[kind], seed=0)
    grey = source.read(_ALL, _ALL, _ALL)
    pixels = np.moveaxis(np.repeat(grey, card.n_channels, axis=-1), -1, 1)
    size = source.info.pixel_size_um or (1.0, 1.0, 1.0)
    meta: dict[str, object] = {"axes": "ZCYX"}
    for axis, value in zip("ZYX", size, strict=True):
        meta |= {f"PhysicalSize{axis}": value, f"PhysicalSize{axis}Unit": "µm"}
    tifffile.imwrite(out, pixels, ome=True, photometric="minisblack", metadata=meta)
    return out
