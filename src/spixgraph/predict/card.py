"""The card of a model bundle: everything that leads from pixels to a mask, besides the weights."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = 1


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClassInfo(_Strict):
    """One class of the mask."""

    id: int = Field(ge=0, le=254)
    name: str
    colour: str = Field(pattern="^#[0-9a-f]{6}$")


class Column(_Strict):
    """One feature column and how it is standardised: ``clip((value - mean) / scale, -6, 6)``."""

    name: str
    mean: float
    scale: float = Field(gt=0)


class Decoder(_Strict):
    """The pixel decoder: the columns of the network's output ``pixel_weights (n, K, P + H)``."""

    columns: tuple[Column, ...] = Field(description="standardised and clipped like features")
    n_hidden: int = Field(
        default=0, ge=0, description="H hidden values of a pixel, by the rows of pixel_layer.npy"
    )


class ContextCard(_Strict):
    """The network of the overview, `context.onnx`: see `predict.context.Context`."""

    factor: int = Field(ge=1, description="edge of a cell in pixels")
    weight: float = Field(gt=0, le=1, description="its share of the class values of a pixel")
    n_parameters: int


class MemoryContract(_Strict):
    """Predicted peak of the host memory of a prediction, in bytes above the idle process."""

    base_bytes: int = Field(ge=0)
    bytes_per_pixel: float = Field(ge=0, description="of an image that is segmented in memory")
    bytes_per_node: float = Field(
        default=6000.0, ge=0, description="of the superpixels that the network sees at once"
    )


class Card(_Strict):
    """`card.json` of a bundle."""

    schema_version: Literal[1] = 1
    name: str
    network: str = Field(description="gnn, mlp or paper")
    n_parameters: int
    n_layers: int = Field(ge=0, description="message passing layers: how many hops a node sees")
    recipe: dict[str, Any] = Field(description="dump of spixgraph.config.recipe.GraphRecipe")
    n_dims: Literal[2, 3]
    n_channels: int = Field(ge=1)
    node_features: tuple[Column, ...]
    edge_features: tuple[Column, ...]
    decoder: Decoder | None = None
    context: ContextCard | None = Field(
        default=None, description="a second opinion on pixels, by a network on the overview"
    )
    scaled_per_image: bool = Field(
        default=False,
        description="all columns are standardised as graph.image_scaling.Scalings.at says",
    )
    temperature: float = Field(
        default=1.0,
        gt=0,
        description="logits, of pixels too, are divided by it to become probabilities",
    )
    classes: tuple[ClassInfo, ...]
    pixel_size_um_range: tuple[float, float] | None = Field(
        description="smallest and largest in-plane pixel size of the training data"
    )
    metrics: dict[str, float] = Field(description="on the test split")
    memory: MemoryContract
    data_sha256: str
    code_sha256: str
    parts_sha256: dict[str, str] = Field(description="file name in the bundle -> sha256")
