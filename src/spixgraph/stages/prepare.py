"""Stage `prepare`: check the data set and settle what the later stages rely on."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from spixgraph.arrays import ImageZYXC, MaskZYX, PixelSizeUm
from spixgraph.config.params import RecipeName
from spixgraph.config.recipe import GraphRecipe
from spixgraph.errors import InputError, StoredDataError
from spixgraph.files import read_json, write_json
from spixgraph.graph.blocks.plan import slice_step
from spixgraph.io.dataset import load_dataset
from spixgraph.io.images import ImageSource, open_image
from spixgraph.io.limits import intensity_limits, read_scaled
from spixgraph.io.masks import MaskSource, whole_mask
from spixgraph.io.parts import open_item_mask, part_of_source
from spixgraph.io.records import Dataset, ImageRow, Item, Part, Split
from spixgraph.stages.run import Run
from spixgraph.superpixels.budget import nodes_per_megapixel_for


class PreparedItem(BaseModel):
    """One pair of image and mask; paths are relative to the data set's folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str
    image: str
    mask: str
    group: str
    split: Split
    pixel_size_um: PixelSizeUm | None
    n_pixels: int
    image_sha256: str
    mask_sha256: str
    part: Part | None = None


class Prepared(BaseModel):
    """`dataset.json`: a checked data set."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_version: Literal[1] = 1
    name: str
    sha256: str
    class_names: tuple[str, ...]
    n_channels: int
    n_dims: Literal[2, 3]
    nodes_per_megapixel: float
    warnings: tuple[str, ...]
    items: tuple[PreparedItem, ...]

    @property
    def n_classes(self) -> int:
        """Number of classes; ids are 0..n_classes-1."""
        return len(self.class_names)

    def split(self, *splits: Split) -> tuple[PreparedItem, ...]:
        """Return the items of these splits, in the order of the manifest."""
        return tuple(item for item in self.items if item.split in splits)


def prepare(run: Run) -> Prepared:
    """Check every image and mask of the data set and write `dataset.json`.

    Raises
    ------
    InputError
        With all faults of the data set in one message.
    """
    settings = run.params.prepare
    dataset, report = load_dataset(
        run.source,
        where=settings.where,
        class_names=settings.class_names,
        split_fractions=settings.split_fractions,
        rng=np.random.default_rng(settings.seed),
        allow_shared_groups=settings.allow_shared_groups,
        exclude=settings.exclude,
    )
    prepared = Prepared(
        name=run.name,
        sha256=report.sha256,
        class_names=report.class_names,
        n_channels=report.n_channels,
        n_dims=report.n_dims,
        nodes_per_megapixel=_node_budget(dataset, report.rows),
        warnings=report.warnings,
        items=tuple(
            _prepared_item(dataset, item, row)
            for item, row in zip(dataset.items, report.rows, strict=True)
        ),
    )
    write_json(run.layout.prepared, prepared.model_dump(mode="json"))
    return prepared


def _node_budget(dataset: Dataset, rows: Sequence[ImageRow]) -> float:
    """Settle what "auto" stands for, from the masks of the training images."""
    train = [(i, r) for i, r in zip(dataset.items, rows, strict=True) if i.split == "train"]
    is_volume = any(slice_step(r.shape_zyxc[0], r.spacing_zyx) is not None for _, r in train)
    masks = (_mask_of(item) for item, _ in train)
    return nodes_per_megapixel_for(masks, is_volume=is_volume)


def _mask_of(item: Item) -> MaskZYX:
    with open_item_mask(item) as source:
        return whole_mask(source)


def _prepared_item(dataset: Dataset, item: Item, row: ImageRow) -> PreparedItem:
    z, y, x, _ = row.shape_zyxc
    return PreparedItem(
        id=item.id,
        image=item.image.relative_to(dataset.root).as_posix(),
        mask=item.mask.relative_to(dataset.root).as_posix(),
        group=item.group,
        split=item.split,
        pixel_size_um=row.pixel_size_um,
        n_pixels=z * y * x,
        image_sha256=row.image_sha256,
        mask_sha256=row.mask_sha256,
        part=item.part,
    )


def load_prepared(run: Run) -> Prepared:
    """Read `dataset.json` again."""
    value = read_json(run.layout.prepared)
    try:
        return Prepared.model_validate(value)
    except ValueError as error:
        raise StoredDataError(
            f"{run.layout.prepared} is of another version; run the prepare stage again"
        ) from error


def recipe_for(run: Run, name: RecipeName) -> GraphRecipe:
    """Return a recipe of the settings, its node budget settled for this data set."""
    return run.params.recipe(name).settled(load_prepared(run).nodes_per_megapixel)


def open_item(run: Run, item: PreparedItem) -> ImageSource:
    """Open the image of one item."""
    path = run.source / item.image
    if not path.exists():
        raise InputError(f"{path} is gone since the data set was prepared; run prepare again")
    return part_of_source(open_image(path, pixel_size_um=item.pixel_size_um), item.part)


def open_mask(run: Run, item: PreparedItem) -> ImageSource:
    """Open the mask of one item, (Z, Y, X, 1) uint8; close it."""
    return part_of_source(MaskSource(run.source / item.mask), item.part)


def true_mask(run: Run, item: PreparedItem) -> MaskZYX:
    """Read the mask of one item: (Z, Y, X) uint8."""
    with open_mask(run, item) as source:
        return whole_mask(source)


def scaled_image(run: Run, item: PreparedItem) -> ImageZYXC:
    """Read one image whole, scaled with its own limits."""
    everything = slice(None)
    with open_item(run, item) as source:
        limits = intensity_limits(source)
        return read_scaled(source, limits, everything, everything, everything)
