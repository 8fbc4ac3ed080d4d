"""How much host memory a prediction needs, said before it starts."""

from spixgraph.arrays import ShapeZYXC
from spixgraph.config.recipe import GraphRecipe, RagParams
from spixgraph.errors import ResourceError
from spixgraph.predict.card import MemoryContract
from spixgraph.resources import available_memory_bytes

_BASE_BYTES = 60_000_000  # onnxruntime's session and compiled kernels
_SLIC_BYTES = (31.0, 10.5)  # per pixel, and per pixel and channel; basins stay below
_MAPS_BYTES = (50.5, 11.0)  # the same for the texture maps of a graph with two scales or more
_LABEL_BYTES = 8.0  # per pixel, while the network runs
_NODE_BYTES = {"rag": 300.0, "paper": 175.0}  # per node and hidden channel, while it runs


def memory_contract(recipe: GraphRecipe, n_channels: int, *, hidden: int = 64) -> MemoryContract:
    """Return how the peak of a prediction grows with the pixels.

    Parameters
    ----------
    recipe : GraphRecipe
    n_channels : int
    hidden : int
        Width of the network.

    Notes
    -----
    The figures are measured on images of 1 to 17 megapixels with 1 to 6 channels, 2D and 3D, at
    500 to 20,000 nodes per megapixel; a test holds them within 20 % of what a run takes. They are
    constants and no measurement of this machine, so that the same model gives the same bundle.
    """
    pixel, channel = _SLIC_BYTES
    if isinstance(recipe.graph, RagParams) and recipe.graph.n_scales > 1:
        pixel, channel = _MAPS_BYTES
    nodes_per_pixel = recipe.superpixels.nodes_per_megapixel / 1e6
    network = _LABEL_BYTES + nodes_per_pixel * hidden * _NODE_BYTES[recipe.graph.kind]
    return MemoryContract(
        base_bytes=_BASE_BYTES, bytes_per_pixel=max(pixel + channel * n_channels, network)
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
