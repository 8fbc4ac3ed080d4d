"""A rectangle of an image, or of its mask, as an image of its own."""

from dataclasses import replace

from spixgraph.arrays import Array
from spixgraph.errors import InputError
from spixgraph.io.images import open_image
from spixgraph.io.masks import MaskSource
from spixgraph.io.records import Item, Part
from spixgraph.io.source import ImageSource, resolve_box


class PartSource(ImageSource):
    """What `part` leaves of a source, in all slices; closes the source it was made of.

    Parameters
    ----------
    source : ImageSource
    part : (y start, y stop, x start, x stop)

    Raises
    ------
    InputError
        If the part is not inside of the image; the source is closed then.
    """

    def __init__(self, source: ImageSource, part: Part) -> None:
        z, y, x, c = source.info.shape_zyxc
        top, bottom, left, right = part
        if not (0 <= top < bottom <= y and 0 <= left < right <= x):
            source.close()
            raise InputError(f"part {part} is not inside of an image of {y} x {x} pixels (y, x)")
        self._source, self._part = source, part
        self.info = replace(source.info, shape_zyxc=(z, bottom - top, right - left, c))
        self.held_bytes = source.held_bytes

    def read(self, z: slice, y: slice, x: slice) -> Array:
        """Return a block of the part; see `ImageSource`."""
        (z0, z1), (y0, y1), (x0, x1) = resolve_box(z, y, x, self.info.shape_zyxc)
        top, _, left, _ = self._part
        return self._source.read(
            slice(z0, z1), slice(top + y0, top + y1), slice(left + x0, left + x1)
        )

    def close(self) -> None:
        """Close the source."""
        self._source.close()


def part_of_source(source: ImageSource, part: Part | None) -> ImageSource:
    """Return the part of a source, or the source where there is none."""
    return source if part is None else PartSource(source, part)


def open_item_image(item: Item) -> ImageSource:
    """Open the image of an item of a data set; errors as of `io.images.open_image`."""
    return part_of_source(open_image(item.image, pixel_size_um=item.pixel_size_um), item.part)


def open_item_mask(item: Item) -> ImageSource:
    """Open the mask of an item of a data set; errors as of `io.masks.MaskSource`."""
    return part_of_source(MaskSource(item.mask), item.part)
