"""Open a trained network as a function from an image to its mask."""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias, get_args

import numpy as np
import torch

from spixgraph.arrays import Array, Float32, Int64, MaskZYX, UInt8
from spixgraph.config.params import Device, ModelName
from spixgraph.config.recipe import GraphRecipe
from spixgraph.errors import InputError, StoredDataError
from spixgraph.io.images import ImageSource
from spixgraph.io.limits import intensity_limits, read_scaled
from spixgraph.nets.cnn import PixelUNet, predict_cnn_rows
from spixgraph.nets.node_net import NodeNet
from spixgraph.predict.context import Context
from spixgraph.predict.driver import NodeModel, segment_source
from spixgraph.predict.steps import Steps
from spixgraph.stages.cnn_confidence import calibrated_cnn
from spixgraph.stages.prepare import recipe_for
from spixgraph.stages.run import Run, recipe_of
from spixgraph.train.checkpoints import load_checkpoint
from spixgraph.train.cnn_training import TrainedCnn
from spixgraph.train.devices import pick_device
from spixgraph.train.node_training import TrainedNodeNet
from spixgraph.train.trees import TreeKind, load_trees

SegmentImage: TypeAlias = Callable[[ImageSource], tuple[MaskZYX, dict[str, float]]]
"""Maps an image to its mask and the seconds of each step."""


def open_checkpoint(run: Run, model: ModelName, seed: int) -> SegmentImage:
    """Load the checkpoint of a model and seed."""
    if model == "cnn":
        return partial(
            _segment_by_cnn, _trained_cnn(run, seed), pick_device(run.params.train.device)
        )
    return partial(_segment_by_nodes, _node_model(run, model, seed))


def open_confidence(run: Run, model: ModelName, seed: int) -> Callable[[ImageSource], UInt8]:
    """Load a model as a function from an image to the probability of the class of each pixel.

    (Z, Y, X) uint8, 255 is certain.
    """
    if model == "cnn":
        device = pick_device(run.params.train.device)
        return calibrated_cnn(run, _trained_cnn(run, seed), device)
    return partial(_confidence, _node_model(run, model, seed))


def _trained_cnn(run: Run, seed: int) -> TrainedCnn:
    trained = load_checkpoint(run.layout.checkpoint("cnn", seed)).trained
    if not isinstance(trained, TrainedCnn):
        raise StoredDataError("the checkpoint of cnn holds no U-Net; train it again")
    return trained


def _node_model(run: Run, model: ModelName, seed: int) -> NodeModel:
    if model in get_args(TreeKind):
        return _tree_model(run, model, seed)
    trained = load_checkpoint(run.layout.checkpoint(model, seed)).trained
    if isinstance(trained, TrainedCnn):
        raise StoredDataError(f"the checkpoint of {model} holds a U-Net; train it again")
    return node_model_of(trained, recipe_for(run, recipe_of(model)), run.params.train.device)


def node_model_of(trained: TrainedNodeNet, recipe: GraphRecipe, device: Device) -> NodeModel:
    """Make of a trained network what segments images.

    Parameters
    ----------
    trained : TrainedNodeNet
    recipe : GraphRecipe
        Of its graphs.
    device : {"auto", "cpu", "cuda"}
    """
    layer, where = trained.net.pixel_layer, pick_device(device)
    return NodeModel(
        recipe=recipe,
        node_scaling=trained.node_scaling,
        edge_scaling=trained.edge_scaling,
        predictor=TorchPredictor(trained.net, where),
        class_ids=np.arange(trained.net.n_classes, dtype=np.uint8),
        n_layers=trained.build["layers"],
        pixel_scaling=trained.pixel_scaling,
        pixel_layer=None if layer is None else layer.detach().numpy(),
        context=_context_of(trained, where),
        scaled_per_image=trained.pixel_scaling is not None,
        temperature=trained.temperature,
    )


def _context_of(trained: TrainedNodeNet, device: torch.device) -> Context | None:
    context = trained.context
    if context is None:
        return None
    predictor = TorchContext(context.net, device)
    return Context(context.factor, context.weight, trained.net.n_classes, predictor)


def _tree_model(run: Run, model: ModelName, seed: int) -> NodeModel:
    trees = load_trees(run.layout.checkpoint(model, seed))
    return NodeModel(
        recipe=recipe_for(run, recipe_of(model)),
        node_scaling=trees.node_scaling,
        edge_scaling=trees.edge_scaling,
        predictor=trees,
        class_ids=np.arange(len(trees.trees.start), dtype=np.uint8),
    )


class TorchPredictor:
    """The torch side of `spixgraph.predict.model.PixelPredictor`."""

    def __init__(self, net: NodeNet, device: torch.device) -> None:
        self._net = net.to(device).eval()
        self._device = device

    def __call__(self, x: Float32, edge_index: Int64, edge_attr: Float32) -> Float32:
        """Map standardised arrays to (n, K) float32 logits."""
        return self._outputs(x, edge_index, edge_attr)[0]

    def with_weights(
        self, x: Float32, edge_index: Int64, edge_attr: Float32
    ) -> tuple[Float32, Float32]:
        """Map standardised arrays to logits and (n, K, P + H) float32 pixel weights."""
        logits, weights = self._outputs(x, edge_index, edge_attr)
        return logits, weights

    @torch.no_grad()
    def _outputs(self, *arrays: Array) -> tuple[Float32, ...]:
        tensors = (torch.from_numpy(array).to(self._device) for array in arrays)
        return tuple(output.cpu().numpy() for output in self._net.outputs(*tensors))


class TorchContext:
    """The torch side of `spixgraph.predict.context.ContextPredictor`."""

    def __init__(self, net: PixelUNet, device: torch.device) -> None:
        self._net, self._device = net.to(device).eval(), device

    @torch.no_grad()
    def __call__(self, cells: Float32) -> Float32:
        """Map standardised (C, rows, columns) to (K, rows, columns) float32 logits.

        On a GPU not in the shorter floats of its convolutions: masks are to be those of the bundle.
        """
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            logits = self._net(torch.from_numpy(cells[None]).to(self._device))[0]
        found: Float32 = logits.cpu().numpy()
        return found


def _segment_by_nodes(model: NodeModel, source: ImageSource) -> tuple[MaskZYX, dict[str, float]]:
    segmentation = segment_source(source, model)
    return segmentation.mask, segmentation.seconds


def _confidence(model: NodeModel, source: ImageSource) -> UInt8:
    shares = segment_source(source, model, shares=True).shares
    if shares is None:
        raise InputError("no probabilities came of a model that gives them")
    confidence: UInt8 = shares.max(axis=0)
    return confidence


def _segment_by_cnn(
    trained: TrainedCnn, device: torch.device, source: ImageSource
) -> tuple[MaskZYX, dict[str, float]]:
    steps = Steps()
    everything = slice(None)
    with steps("read"):
        limits = intensity_limits(source)
    with steps("network"):
        mask = predict_cnn_rows(
            trained.net,
            lambda rows: read_scaled(source, limits, everything, rows, everything),
            source.info.shape_zyxc[:3],
            window_zyx=trained.window_zyx,
            overlap=trained.overlap,
            device=device,
        )
    return mask, steps.seconds
