"""The region graph of one image, in memory and on disk.

Why a Zarr group and not a pickle: it can be read array by array, from other languages, and its
bytes depend on its content alone. Arrays are stored uncompressed, so that no codec version can
change the bytes; float features would shrink by a tenth at best.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spixgraph.arrays import Array, Float32, Float64, Int64, PixelSizeUm, ShapeZYX
from spixgraph.errors import InputError, StoredDataError
from spixgraph.files import atomic_path

SCHEMA = 1
MAX_CHUNK_ROWS = 65_536

_DTYPES = {
    "x": np.float32,
    "centroid_px": np.float64,
    "n_pixels": np.int64,
    "edge_index": np.int64,
    "edge_attr": np.float32,
    "target": np.float32,
    "annotated": np.float32,
}
_OPTIONAL = ("target", "annotated")


@dataclass(frozen=True, slots=True)
class GraphSource:
    """What a graph was made from; two graphs with equal sources have equal bytes."""

    image_sha256: str
    shape_zyx: ShapeZYX
    pixel_size_um: PixelSizeUm | None
    params: dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class RegionGraph:
    """Superpixels as nodes, their contacts as edges.

    Attributes
    ----------
    x : (n, F) float32
        Node features, columns named by `feature_names`; raw values, not standardised.
    centroid_px : (n, 3) float64
        Mean (z, y, x) of the pixels of each superpixel.
    n_pixels : (n,) int64
    edge_index : (2, E) int64
        (source, target) in both directions, sorted by target, then source.
    edge_attr : (E, D) float32
        Edge features, columns named by `edge_feature_names`.
    target : (n, K) float32 or None
        Fraction of each class among the annotated pixels; rows of zeros where none is annotated.
    annotated : (n,) float32 or None
        Fraction of the pixels of each superpixel that are annotated, 0..1.

    Raises
    ------
    InputError
        If dtypes or shapes do not fit together, an edge leads to no node or a value is NaN or inf.
    """

    x: Float32
    feature_names: tuple[str, ...]
    centroid_px: Float64
    n_pixels: Int64
    edge_index: Int64
    edge_attr: Float32
    edge_feature_names: tuple[str, ...]
    source: GraphSource
    target: Float32 | None = None
    annotated: Float32 | None = None

    def __post_init__(self) -> None:
        n, e = len(self.n_pixels), self.edge_index.shape[-1]
        if (self.target is None) != (self.annotated is None):
            raise InputError("target and annotated belong together: give both or none")
        wanted: dict[str, tuple[int, ...]] = {
            "x": (n, len(self.feature_names)),
            "centroid_px": (n, 3),
            "n_pixels": (n,),
            "edge_index": (2, e),
            "edge_attr": (e, len(self.edge_feature_names)),
        }
        if self.target is not None:
            wanted |= {"target": (n, self.target.shape[-1]), "annotated": (n,)}
        for name, shape in wanted.items():
            _require(name, getattr(self, name), shape)
        if e and not (self.edge_index.min() >= 0 and self.edge_index.max() < n):
            raise InputError(f"edge_index must hold nodes 0..{n - 1}")

    @property
    def n_regions(self) -> int:
        """Number of nodes."""
        return len(self.n_pixels)


def _require(name: str, array: Array, shape: tuple[int, ...]) -> None:
    """Check one array of a graph."""
    if array.dtype != _DTYPES[name] or array.shape != shape:
        raise InputError(
            f"{name} must be {shape} {np.dtype(_DTYPES[name])}, got {array.shape} {array.dtype}"
        )
    if not np.isfinite(array).all():
        raise InputError(f"{name} holds NaN or inf; check the image for bad pixels")


def save_graph(graph: RegionGraph, path: Path) -> None:
    """Write `graph` as a Zarr v3 group, atomically; same graph, same bytes.

    Parameters
    ----------
    graph : RegionGraph
    path : Path
        The folder to make; an existing one is replaced at the end.
    """
    with atomic_path(path) as part:
        group = create_graph(
            part,
            feature_names=graph.feature_names,
            edge_feature_names=graph.edge_feature_names,
            source=graph.source,
        )
        for name in _DTYPES:
            array = getattr(graph, name)
            if array is not None:
                create_table(group, name, array.shape)[...] = array


def create_graph(
    path: Path,
    *,
    feature_names: tuple[str, ...],
    edge_feature_names: tuple[str, ...],
    source: GraphSource,
) -> Any:
    """Make the Zarr group of a graph without its tables; see `create_table`."""
    import zarr

    attributes = {
        "edge_feature_names": list(edge_feature_names),
        "feature_names": list(feature_names),
        "image_sha256": source.image_sha256,
        "params": _sorted(source.params),
        "pixel_size_um": None if source.pixel_size_um is None else list(source.pixel_size_um),
        "schema": SCHEMA,
        "shape_zyx": list(source.shape_zyx),
    }
    return zarr.create_group(path, zarr_format=3, attributes=attributes)


def create_table(group: Any, name: str, shape: tuple[int, ...]) -> Any:
    """Make the Zarr array of one table of a graph, named as in `RegionGraph`."""
    return group.create_array(
        name,
        shape=shape,
        dtype=_DTYPES[name],
        chunks=_chunks(name, shape),
        compressors=None,
        filters=None,
        fill_value=0,
    )


def _sorted(value: Any) -> Any:
    """Sort the keys of nested dicts."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return value


def _chunks(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Cut the long axis in equal chunks."""
    axis = row_axis(name)
    rows = chunk_rows(shape[axis])
    return tuple(max(1, rows if i == axis else size) for i, size in enumerate(shape))


def row_axis(name: str) -> int:
    """Return the axis of a table along which its rows lie."""
    return 1 if name == "edge_index" else 0


def chunk_rows(n_rows: int) -> int:
    """Rows of the chunks of a table: equal chunks, so that padding stays small."""
    return max(1, math.ceil(n_rows / max(1, math.ceil(n_rows / MAX_CHUNK_ROWS))))


def load_graph(path: Path) -> RegionGraph:
    """Read a graph that `save_graph` wrote.

    Raises
    ------
    InputError
        If nothing is at `path`.
    StoredDataError
        On a foreign schema, a missing array or attribute, or arrays that do not fit together.
    """
    tables, about = open_tables(path)
    try:
        return RegionGraph(**about | {name: np.asarray(t[...]) for name, t in tables.items()})
    except InputError as error:
        raise StoredDataError(f"{path} is not consistent: {error}; make the graph again") from error


def open_tables(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Open the arrays of a graph without reading them, and read all else; raises as `load_graph`.

    Returns
    -------
    tables : dict of str to zarr.Array
    about : dict
        `feature_names`, `edge_feature_names` and `source` of `RegionGraph`.
    """
    import zarr

    if not path.exists():
        raise InputError(f"{path} does not exist; make it with the graphs stage")
    try:
        group = zarr.open_group(path, mode="r", zarr_format=3)
    except (FileNotFoundError, ValueError, KeyError) as error:
        raise StoredDataError(f"{path} is not a Zarr v3 group; make the graph again") from error
    attributes = dict(group.attrs)
    if attributes.get("schema") != SCHEMA:
        raise StoredDataError(
            f"{path} has graph schema {attributes.get('schema')}, this version reads {SCHEMA}; "
            "make the graph again"
        )
    try:
        present = [name for name in _DTYPES if name not in _OPTIONAL or name in group]
        return {name: group[name] for name in present}, _about(attributes)
    except KeyError as error:
        raise StoredDataError(f"{path} lacks {error}; make the graph again") from error


def _about(attributes: dict[str, Any]) -> dict[str, Any]:
    """Turn the stored attributes into those of a graph."""
    pixel_size = attributes["pixel_size_um"]
    return {
        "feature_names": tuple(attributes["feature_names"]),
        "edge_feature_names": tuple(attributes["edge_feature_names"]),
        "source": GraphSource(
            image_sha256=attributes["image_sha256"],
            shape_zyx=tuple(attributes["shape_zyx"]),
            pixel_size_um=None if pixel_size is None else tuple(pixel_size),
            params=attributes["params"],
        ),
    }
