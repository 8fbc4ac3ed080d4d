"""Pictures of superpixels: a crop of each data set at three budgets."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.segmentation import find_boundaries

from benchmarks.engine.mosaic import ALL
from spixgraph.arrays import Array, LabelsZYX
from spixgraph.files import atomic_path
from spixgraph.io.dataset import read_dataset
from spixgraph.io.images import open_image
from spixgraph.io.limits import intensity_limits, read_scaled
from spixgraph.superpixels.basins import basin_labels

_CROP_PX, _GAP_PX = 224, 4
_LINE = np.array([255, 210, 0], np.uint8)
_COLOURS = (128, 64, 32, 16)
MAX_BYTES = 150_000


def draw_gallery(folder: Path, path: Path, budgets: Sequence[float], threads: int) -> None:
    """Write the borders of superpixels over the middle of the first image, budgets side by side."""
    items = [item for item in read_dataset(folder).items if item.split != "test"]
    with open_image(items[0].image, pixel_size_um=items[0].pixel_size_um) as source:
        image = read_scaled(source, intensity_limits(source), *ALL)
        size = source.info.pixel_size_um
    panels = []
    for nodes in budgets:
        labels = basin_labels(image, nodes_per_megapixel=nodes, spacing_zyx=size, workers=threads)
        panels += [_panel(image, labels), np.full((_CROP_PX, _GAP_PX, 3), 255, np.uint8)]
    _save_small(np.concatenate(panels[:-1], axis=1), path)


def _panel(image: Array, labels: LabelsZYX) -> Array:
    """Draw the middle of the middle slice, padded where the image is smaller."""
    z, y, x = (n // 2 for n in labels.shape)
    top, left = max(0, y - _CROP_PX // 2), max(0, x - _CROP_PX // 2)
    part = (z, slice(top, top + _CROP_PX), slice(left, left + _CROP_PX))
    channels = image[part]
    colours = channels if channels.shape[-1] == 3 else np.repeat(channels[..., :1], 3, axis=-1)
    panel = np.rint(255 * colours.clip(0, 1)).astype(np.uint8)
    panel[find_boundaries(labels[part], mode="inner")] = _LINE
    missing = [(0, _CROP_PX - n) for n in panel.shape[:2]]
    return np.pad(panel, [*missing, (0, 0)], constant_values=255)


def _save_small(picture: Array, path: Path) -> None:
    """Write a PNG with as many colours as `MAX_BYTES` allow."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as part:
        for n_colours in _COLOURS:
            Image.fromarray(picture).quantize(n_colours, dither=Image.Dither.NONE).save(
                part, format="PNG", optimize=True
            )
            if part.stat().st_size <= MAX_BYTES:
                return
