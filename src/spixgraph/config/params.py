"""The settings of the pipeline: one section of `params.yaml` per stage, strict and frozen.

A misspelt or unknown key is an error that names it; nothing falls back in silence.
"""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spixgraph.config.recipe import (
    BasinParams,
    GraphRecipe,
    PaperParams,
    RagParams,
    SlicParams,
)
from spixgraph.errors import InputError

ModelName = Literal["gnn", "cnn", "paper", "mlp", "forest", "boosting"]
NodeModelName = Literal["gnn", "paper", "mlp"]
RecipeName = Literal["rag", "paper"]
Device = Literal["auto", "cpu", "cuda"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PhantomSection(_Strict):
    """The embedded synthetic data set."""

    kind: Literal["colonies", "nuclei3d", "layers"] = "colonies"
    n_images: int = Field(default=12, ge=3)
    shape_zyx: tuple[int, int, int] = (1, 384, 384)
    seed: int = 0


class PrepareSection(_Strict):
    """Which data set, which rows of it, which classes."""

    source: str = "data/phantom"
    where: dict[str, str] = Field(
        default={}, description="keep the manifest rows whose column has this value"
    )
    class_names: tuple[str, ...] = Field(default=(), description="empty: class_0, class_1, ...")
    split_fractions: tuple[float, float, float] = Field(
        default=(0.6, 0.2, 0.2), description="train, val, test where the manifest has no split"
    )
    allow_shared_groups: bool = Field(
        default=False, description="accept a group in several splits; scores are then optimistic"
    )
    exclude: dict[Literal["train", "val", "test"], tuple[str, ...]] = Field(
        default={}, description="ids to leave out of a split, as {train: [id]}"
    )
    seed: int = 0


class SuperpixelsSection(_Strict):
    """The superpixels of the region graph and of the paper mode."""

    rag: BasinParams = BasinParams()
    paper: SlicParams = SlicParams()


class GraphsSection(_Strict):
    """The two kinds of graph."""

    rag: RagParams = RagParams()
    paper: PaperParams = PaperParams()


class CnnTraining(_Strict):
    """How the MONAI U-Net is built and trained."""

    channels: tuple[int, ...] = (16, 32, 64, 128, 256)
    patch_px: Annotated[int, Field(ge=32)] | Literal["auto"] = Field(
        default="auto", description="edge of a 2D patch; auto: 192, less for smaller images"
    )
    patch_px_3d: tuple[int, int, int] | Literal["auto"] = Field(
        default="auto", description="auto: (16, 64, 64), less for smaller images"
    )
    batch: int = Field(default=6, gt=0)
    epochs: int = Field(default=60, gt=0)
    steps_per_epoch: int = Field(default=25, gt=0)
    patience: int = Field(default=15, gt=0)
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    overlap: float = Field(default=0.25, ge=0, lt=1, description="of the sliding window")
    max_minutes: float | None = Field(default=None, gt=0)


class ContextTraining(CnnTraining):
    """How the U-Net of the overview is built and trained; its patches are 2D."""

    channels: tuple[int, ...] = Field(
        default=(16, 32, 64, 128),
        min_length=3,
        max_length=4,
        description="3 or 4 levels: segmentation counts on how far they see",
    )
    patch_px: Annotated[int, Field(ge=32)] | Literal["auto"] = Field(
        default="auto", description="edge of a patch in cells; auto: 96, less for smaller images"
    )
    epochs: int = Field(default=80, gt=0)
    patience: int = Field(default=40, gt=0)


class NodeTraining(_Strict):
    """How a node network is built and trained."""

    hidden: int = Field(default=64, gt=0)
    layers: int = Field(default=6, ge=0)
    pixel_hidden: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(
        default=0,
        description="hidden values of a pixel, made by one layer for all superpixels; 0: pixel "
        "decoders are linear; auto: 8 where superpixels have at most 300 pixels. Not for the paper "
        "network",
    )
    members: int = Field(
        default=1, gt=0, description="networks whose answers are averaged; each is trained"
    )
    epochs: int = Field(default=40, gt=0, description="of 10 steps or more")
    patience: int = Field(default=20, gt=0, description="epochs without a better validation IoU")
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    noise: float = Field(
        default=0.1,
        ge=0,
        description="added to each column of each superpixel in training, in standard deviations. "
        "Not for the paper network",
    )
    max_minutes: float | None = Field(default=None, gt=0)
    changed: int = Field(
        default=0,
        ge=0,
        description="further graphs of each training image, of parts that are turned, resized and "
        "disturbed, with half to twice the nodes; half of the steps see one of them. Fewer where "
        "there are many images. Not for the paper network",
    )
    nodes_per_step: int | None = Field(
        default=None,
        gt=0,
        description="learn from windows of so many superpixels; null: from whole graphs",
    )
    context: ContextTraining | None = Field(
        default=None,
        description="also train a U-Net on the image averaged over squares, and blend it in as far "
        "as validation gains by it; one member is then enough where it gets half of the say. null: "
        "none. For networks with a pixel decoder",
    )


class ForestTraining(_Strict):
    """How the random forest is grown."""

    trees: int = Field(default=100, gt=0)
    min_leaf: int = Field(default=3, gt=0, description="fewest superpixels of a leaf")


class BoostingTraining(_Strict):
    """How gradient boosting grows; the best round on validation is kept."""

    rounds: int = Field(default=150, gt=0)
    leaves: int = Field(default=31, gt=1, description="of a tree")
    learning_rate: float = Field(default=0.1, gt=0)


class TrainSection(_Strict):
    """Seeds, device and one section per model.

    The defaults are for real images, as `spixgraph experiment` takes them.
    """

    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    device: Device = "auto"
    threads: int = Field(
        default=2, ge=1, description="of the U-Net on the CPU; weights depend on it"
    )
    gnn: NodeTraining = NodeTraining(
        hidden=48,
        pixel_hidden="auto",
        members=3,
        noise=0.3,
        changed=8,
        nodes_per_step=2048,
        epochs=80,
        patience=40,
        context=ContextTraining(),
    )
    paper: NodeTraining = NodeTraining(hidden=64, layers=2)
    mlp: NodeTraining = NodeTraining(
        layers=0, members=3, changed=8, nodes_per_step=2048, epochs=80, patience=40
    )
    cnn: CnnTraining = CnnTraining()
    forest: ForestTraining = ForestTraining()
    boosting: BoostingTraining = BoostingTraining()


class EvaluateSection(_Strict):
    """What is measured."""

    boundary_tolerance_px: int = Field(default=2, ge=0)


class SelectSection(_Strict):
    """Limits that the selected model must keep; the best validation macro IoU among those wins."""

    candidates: tuple[NodeModelName, ...] = Field(default=("gnn", "mlp", "paper"), min_length=1)
    max_parameters: int | None = None
    max_inference_bytes_per_megapixel: int | None = None
    max_inference_seconds_per_megapixel: float | None = None


class ExportSection(_Strict):
    """The bundle."""

    model_name: str = Field(default="spixgraph-phantom", pattern="^[a-z0-9][a-z0-9-]*$")
    colours: tuple[Annotated[str, Field(pattern="^#[0-9a-f]{6}$")], ...] = ()


class VerifySection(_Strict):
    """What an exported bundle must prove."""

    max_logit_difference: float = Field(default=1e-3, gt=0)
    max_pixel_disagreement: float = Field(default=1e-4, ge=0)


class GateSection(_Strict):
    """What a model must keep to become champion; `spixgraph model promote` reads it."""

    tolerance: float = Field(default=0.01, ge=0)
    max_logit_difference: float = Field(default=1e-3, ge=0)
    max_latency_factor: float = Field(default=1.5, gt=0)
    max_seconds_per_megapixel: float | None = Field(default=None, gt=0)


class Params(_Strict):
    """The whole of `params.yaml`."""

    phantom: PhantomSection = PhantomSection()
    prepare: PrepareSection = PrepareSection()
    superpixels: SuperpixelsSection = SuperpixelsSection()
    graphs: GraphsSection = GraphsSection()
    train: TrainSection = TrainSection()
    evaluate: EvaluateSection = EvaluateSection()
    select: SelectSection = SelectSection()
    export: ExportSection = ExportSection()
    verify: VerifySection = VerifySection()
    gate: GateSection = GateSection()

    def recipe(self, name: RecipeName) -> GraphRecipe:
        """Put superpixels and graph of one name together."""
        if name == "paper":
            return GraphRecipe(superpixels=self.superpixels.paper, graph=self.graphs.paper)
        return GraphRecipe(superpixels=self.superpixels.rag, graph=self.graphs.rag)


def load_params(path: Path) -> Params:
    """Read and check `params.yaml`.

    Raises
    ------
    InputError
        If the file is missing or a key or value is not allowed; the message names each one.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; copy params.yaml from the repository")
    try:
        return Params.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {error}") from error
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}, got {e['input']!r}"
            for e in error.errors()
        ]
        faults = "; ".join(lines)
        raise InputError(f"{path} holds settings that are not allowed: {faults}") from error
