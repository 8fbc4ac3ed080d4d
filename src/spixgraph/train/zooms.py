"""At which other sizes training images are seen, too."""

from collections.abc import Sequence

ALIKE = 1.2
"""Largest ratio of pixel sizes that count as one."""
ZOOMS = (0.71, 1.41)


def auto_zooms(pixel_sizes_um: Sequence[float | None], *, n_dims: int) -> tuple[float, ...]:
    """Choose `ZOOMS` for 2D images whose stated pixel sizes differ, and none for others.

    Where pixel sizes differ among the images that are there, they will among those to come, and
    objects are then of other sizes in pixels than any that was learned from.

    Parameters
    ----------
    pixel_sizes_um : sequence of float or None
        Of the training and validation images; None is unknown.
    n_dims : {2, 3}
    """
    known = [size for size in pixel_sizes_um if size is not None]
    differ = bool(known) and max(known) >= ALIKE * min(known)
    return ZOOMS if n_dims == 2 and differ else ()
