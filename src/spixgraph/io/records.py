"""What a data set is, and what checking it found."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeGuard, get_args

from spixgraph.arrays import PixelSizeUm, ShapeZYXC
from spixgraph.errors import InputError
from spixgraph.files import sha256_json

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
Part: TypeAlias = tuple[int, int, int, int]
"""First and last + 1 row, first and last + 1 column of a part of an image, in all its slices."""


def is_split(name: str) -> TypeGuard[Split]:
    """Whether `name` is train, val or test."""
    return name in SPLITS


@dataclass(frozen=True, slots=True)
class Item:
    """One image with its mask.

    Attributes
    ----------
    id : str
        Unique in the data set, usable as a file name.
    image, mask : Path
        Below the root of the data set.
    group : str
        Subject, slide or field; images of one group stay on one side of a split.
    split : 'train', 'val' or 'test'
    pixel_size_um : (z, y, x) or None
        As the manifest states it; wins over what the image file says.
    columns : tuple of (name, value)
        The other columns of the manifest.
    part : (y start, y stop, x start, x stop) or None
        What of image and mask belongs to the item; None is all of it.
    """

    id: str
    image: Path
    mask: Path
    group: str
    split: Split
    pixel_size_um: PixelSizeUm | None = None
    columns: tuple[tuple[str, str], ...] = ()
    part: Part | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """Items and the names of their classes; see `check_dataset` before trusting it.

    Attributes
    ----------
    name : str
    root : Path
    items : tuple of Item
        In the order of the manifest, or of the stems.
    class_names : tuple of str
        Name of class 0, 1, ...; empty where they were not declared.
    notes : tuple of str
        What was assumed on reading; `check_dataset` repeats it as warnings.
    """

    name: str
    root: Path
    items: tuple[Item, ...]
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def split(self, name: str) -> tuple[Item, ...]:
        """Return the items of 'train', 'val' or 'test'."""
        if name not in SPLITS:
            raise InputError(f"split {name!r} is none of {', '.join(SPLITS)}")
        return tuple(item for item in self.items if item.split == name)


@dataclass(frozen=True, slots=True)
class ImageRow:
    """What the files of one item hold.

    Attributes
    ----------
    class_pixels : tuple of int
        Pixels of class 0, 1, ...; not annotated ones (255) are left out.
    n_not_annotated : int
    spacing_zyx : (z, y, x) or None
        See `ImageInfo`.
    image_sha256, mask_sha256 : str
        `image_sha256` of the pixels.
    """

    id: str
    group: str
    split: Split
    shape_zyxc: ShapeZYXC
    dtype: str
    pixel_size_um: PixelSizeUm | None
    class_pixels: tuple[int, ...]
    n_not_annotated: int
    image_sha256: str
    mask_sha256: str
    spacing_zyx: PixelSizeUm | None = None

    @property
    def megapixels(self) -> float:
        """Pixels (voxels) in millions."""
        z, y, x, _ = self.shape_zyxc
        return z * y * x / 1e6


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """A data set that passed: figures per image and for the whole.

    Attributes
    ----------
    class_names : tuple of str
        As declared, or class_0, class_1, ... up to the largest id found.
    shared_groups : tuple of str
        Groups that are in several splits by the caller's leave; empty otherwise.
    warnings : tuple of str
        What is allowed but should be known.
    """

    name: str
    class_names: tuple[str, ...]
    rows: tuple[ImageRow, ...]
    shared_groups: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def n_channels(self) -> int:
        """Channels of every image."""
        return self.rows[0].shape_zyxc[3]

    @property
    def n_dims(self) -> Literal[2, 3]:
        """2 where every image has one slice, else 3."""
        return 2 if self.rows[0].shape_zyxc[0] == 1 else 3

    @property
    def megapixels(self) -> float:
        """Pixels (voxels) of all images in millions."""
        return sum(row.megapixels for row in self.rows)

    @property
    def class_pixels(self) -> tuple[int, ...]:
        """Annotated pixels of class 0, 1, ... in all images."""
        return add_counts(row.class_pixels for row in self.rows)

    @property
    def sha256(self) -> str:
        """Hash of ids, groups, splits and pixels; the order of rows does not matter."""
        keys = ("id", "group", "split", "image_sha256", "mask_sha256")
        return sha256_json(sorted([getattr(row, key) for key in keys] for row in self.rows))

    def as_json(self) -> dict[str, Any]:
        """Return all figures as plain values."""
        return asdict(self) | {
            "n_channels": self.n_channels,
            "n_dims": self.n_dims,
            "megapixels": self.megapixels,
            "class_pixels": self.class_pixels,
            "sha256": self.sha256,
        }


def add_counts(counts: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    """Add up counts per class."""
    return tuple(sum(column) for column in zip(*counts, strict=True))
