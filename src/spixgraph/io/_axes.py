"""From the axes that a file has to (Z, Y, X, C)."""

from dataclasses import dataclass

from spixgraph.arrays import Array, ShapeZYXC
from spixgraph.errors import InputError, StoredDataError

_REMEDY = "save it as OME-TIFF, or name the axes with axes= (--axes): Z, Y, X, C or T, such as"
_FEW_PAGES = 4


@dataclass(frozen=True)
class Layout:
    """Which axis of a stored array is Z, Y, X or C; '_' marks an axis of one element."""

    axes: str
    shape: tuple[int, ...]

    def size(self, letter: str) -> int:
        """Length of the axis `letter`, 1 where there is none."""
        return self.shape[self.axes.index(letter)] if letter in self.axes else 1

    @property
    def shape_zyxc(self) -> ShapeZYXC:
        """Shape as (Z, Y, X, C)."""
        return (self.size("Z"), self.size("Y"), self.size("X"), self.size("C"))

    def index(self, **spans: slice) -> tuple[slice | int, ...]:
        """Index the stored array by slices per letter; axes not named are taken whole."""
        return tuple(0 if a == "_" else spans.get(a, slice(None)) for a in self.axes)

    def to_zyxc(self, block: Array) -> Array:
        """Turn what `index` took into (Z, Y, X, C)."""
        kept = [a for a in self.axes if a != "_"]
        present = [a for a in "ZYXC" if a in kept]
        block = block.transpose([kept.index(a) for a in present])
        sizes = dict(zip(present, block.shape, strict=True))
        return block.reshape([sizes.get(a, 1) for a in "ZYXC"])


def find_layout(axes: str, shape: tuple[int, ...], *, override: str | None, name: str) -> Layout:
    """Decide the role of each axis of a file.

    Parameters
    ----------
    axes : str
        Letters as tifffile writes them: S is samples, I and Q are pages without a meaning.
    shape : tuple of int
        Length of each axis.
    override : str or None
        Letters given by the user; they win.
    name : str
        Name of the file for messages.

    Raises
    ------
    InputError
        If an axis could mean several things, or `override` does not match the shape.
    """
    letters = _overridden(override, shape, name) if override else _named(axes, shape, name)
    letters = letters.replace("S", "C")
    roles = "".join(
        a if a in "YX" or (n > 1 and a in "ZC") else "_" if n == 1 else a
        for a, n in zip(letters, shape, strict=True)
    )
    odd = sorted(set(roles) - set("ZYXC_"))
    if "T" in odd:
        raise InputError(
            f"{name} is a time series, {axes} of {shape}; save one time point per file"
        )
    if odd:
        raise InputError(
            f"{name} has axes {axes} of {shape}, and {', '.join(odd)} is more than one long; "
            f"{_REMEDY} --axes {_example(shape)}"
        )
    if any(roles.count(a) > 1 for a in "ZYXC") or not {"Y", "X"} <= set(roles):
        raise InputError(
            f"{name} has axes {axes} of {shape}, not each of Z, Y, X, C at most once; "
            f"{_REMEDY} --axes {_example(shape)}"
        )
    if 0 in shape:
        raise StoredDataError(f"{name} has no pixels: shape {shape}; save it again")
    return Layout(roles, tuple(shape))


def _overridden(override: str, shape: tuple[int, ...], name: str) -> str:
    letters = override.upper()
    if len(letters) != len(shape) or set(letters) - set("TZYXCS"):
        raise InputError(
            f"axes={override!r} does not fit {name}, which has {len(shape)} axes of {shape}; "
            f"{_REMEDY} --axes {_example(shape)}"
        )
    return letters


def _named(axes: str, shape: tuple[int, ...], name: str) -> str:
    """Read pages without a meaning as slices, where nothing else is likely."""
    pages = [i for i, (a, n) in enumerate(zip(axes, shape, strict=True)) if a in "IQ" and n > 1]
    if len(pages) != 1 or ("Z" in axes and shape[axes.index("Z")] > 1):
        return axes
    (i,) = pages
    if "S" not in axes and shape[i] <= _FEW_PAGES:
        raise InputError(
            f"{name} has {shape[i]} grey pages of {shape[i + 1 :]} and does not say whether they "
            f"are slices or channels; {_REMEDY} --axes ZYX or --axes CYX"
        )
    return axes[:i] + "Z" + axes[i + 1 :]


def _example(shape: tuple[int, ...]) -> str:
    """Return letters of the right number for a message."""
    if len(shape) == 3 and shape[-1] <= _FEW_PAGES:
        return "YXC"
    return {2: "YX", 3: "ZYX", 4: "ZYXC", 5: "TZYXC"}.get(len(shape), "ZYX")
