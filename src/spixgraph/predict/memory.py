"""How much host memory a prediction needs, said before it starts."""

from spixgraph.arrays import ShapeZYXC
from spixgraph.config.recipe import GraphRecipe
from spixgraph.errors import ResourceError
from spixgraph.predict.card import MemoryContract
from spixgraph.resources import available_memory_bytes

_BASE_BYTES = 12_000_000  # onnxruntime's session
_KERNEL_BYTES = 85_000_000  # the compiled kernels of basins and what loads them
_STRIP_BYTES = 12_500_000  # per channel: the strips of basins that are under way
_BASIN_BYTES = (5.0, 0.9)  # per pixel, and per pixel and channel: labels and image
_NODE_TABLE_BYTES = 1130.0  # per superpixel: its columns and edges
_SLIC_BYTES = (31.0, 10.5)  # per pixel, and per pixel and channel
_LABEL_BYTES = 8.0  # per pixel, while the network runs
_NODE_BYTES = (900.0, 75.0)  # per superpixel, and per superpixel and hidden channel, while it runs
_MEMBER_BYTES = 16.0  # per superpixel and hidden channel, of each further network of a committee
_CONTEXT_BYTES = 150e6  # a tile of the overview in its network
_CELL_BYTES = (16.0, 12.0)  # of the overview, per cell, and per cell and channel
_HIDDEN_WEIGHT_BYTES = 8.0  # per superpixel and weight: those of the members and of all at once


def memory_contract(
    recipe: GraphRecipe,
    n_channels: int,
    *,
    hidden: int = 64,
    members: int = 1,
    hidden_weights: int = 0,
    context_factor: int | None = None,
) -> MemoryContract:
    """Return how the peak of a prediction grows with the pixels.

    Parameters
    ----------
    recipe : GraphRecipe
    n_channels : int
    hidden : int
        Width of the network.
    members : int
        Networks of a committee.
    hidden_weights : int
        Of the hidden values of a pixel, per superpixel: values of all members times classes.
    context_factor : int, optional
        Edge of a cell of the overview in pixels, where a network looks at it.

    Notes
    -----
    The figures are measured on images of 2 to 25 megapixels with 1 to 6 channels, 2D and 3D (those
    of basins last on 2D images of 2 to 17 megapixels with 1 and 3 channels), at
    500 to 20,000 nodes per megapixel; a test holds them within 20 % of what a run takes. They are
    constants and no measurement of this machine, so that the same model gives the same bundle.
    """
    nodes_per_pixel = recipe.nodes_per_megapixel / 1e6
    node, per_channel = _NODE_BYTES
    bytes_per_node = node + (per_channel + (members - 1) * _MEMBER_BYTES) * hidden
    bytes_per_node += _HIDDEN_WEIGHT_BYTES * hidden_weights
    base = _BASE_BYTES
    pixel, channel = _SLIC_BYTES
    if recipe.is_streamed:
        base += _KERNEL_BYTES + _STRIP_BYTES * n_channels
        pixel, channel = _BASIN_BYTES
        pixel += nodes_per_pixel * _NODE_TABLE_BYTES
    if context_factor is not None:
        base += int(_CONTEXT_BYTES)
        cell, of_channel = _CELL_BYTES
        pixel += (cell + of_channel * n_channels) / context_factor**2
    network = _LABEL_BYTES + nodes_per_pixel * (bytes_per_node + _NODE_TABLE_BYTES / 2)
    return MemoryContract(
        base_bytes=base,
        bytes_per_pixel=max(pixel + channel * n_channels, network),
        bytes_per_node=bytes_per_node,
    )


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
            f"memory, {free / 2**20:,.0f} MiB are available; use a machine with more memory, close "
            f"other programs, or cut the image into parts of at most {pixels / 1e6:,.1f} megapixels"
        )
