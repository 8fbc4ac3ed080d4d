"""How much host memory a prediction needs, said before it starts."""

from spixgraph.arrays import ShapeZYXC
from spixgraph.errors import ResourceError
from spixgraph.predict.card import MemoryContract
from spixgraph.resources import available_memory_bytes


def predict_peak_bytes(shape_zyxc: ShapeZYXC, memory: MemoryContract) -> int:
    """Predict the peak host memory of a prediction, in bytes above the idle process.

    Linear in the pixels; the number of channels and the recipe are part of the measured slope.
    """
    z, y, x, _ = shape_zyxc
    return memory.base_bytes + round(memory.bytes_per_pixel * z * y * x)


def require_memory(shape_zyxc: ShapeZYXC, memory: MemoryContract) -> None:
    """Refuse an image that would not fit.

    Raises
    ------
    ResourceError
        If the predicted peak is above the available memory; the message names both.
    """
    needed = predict_peak_bytes(shape_zyxc, memory)
    free = available_memory_bytes()
    if needed > free:
        pixels = max(0, int((free - memory.base_bytes) / max(memory.bytes_per_pixel, 1e-9)))
        raise ResourceError(
            f"segmenting {shape_zyxc} (Z, Y, X, C) needs about {needed / 2**20:,.0f} MiB of "
            f"memory, {free / 2**20:,.0f} MiB are available; use a machine with more memory, close other "
            f"programs, or cut the image into parts of at most {pixels / 1e6:,.1f} megapixels"
        )

