"""Cells of the benchmark: what a model takes at one size, kept as JSON with a hash of its origin.

So a benchmark that was stopped goes on where it was, and cells of several machines are put together
by copying files.
"""

import json
import logging
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.cost.data import edge_of, write_set
from spixgraph.arrays import Array
from spixgraph.config.params import Params
from spixgraph.files import code_sha256, read_json, sha256_json, write_json
from spixgraph.resources import available_memory_bytes
from spixgraph.stages.trainings import code_of
from spixgraph.train.node_lesson import samples_per_epoch

log = logging.getLogger("benchmarks.cost")

Cell = dict[str, Any]
Kind = Literal["train", "infer"]
MODELS = ("gnn", "mlp", "unet-patch", "unet-whole")
_OF_MACHINE = 0.7
"""Part of the memory that the machine has left, beyond which a cell is refused."""
_SMALL_MP = 0.065
_PATCHES, _WHOLES = 4, 2
"""Steps that a U-Net takes: the first one warms up, the others are timed."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where cells lie, and how they are run.

    Attributes
    ----------
    results, work : Path
        JSON files; data sets and models, which may be deleted.
    base_name, pixels, mask : str, (Y, X) array, (Y, X) uint8
        What images are made of.
    params : Params
        Settings of the data set that the image is of.
    max_bytes : int
        A cell that is expected to take more is refused.
    max_seconds : float
        Likewise, processor seconds.
    """

    results: Path
    work: Path
    base_name: str
    pixels: Array
    mask: Array
    params: Params
    max_bytes: int
    max_seconds: float

    def make(self, kind: Kind, model: str, megapixels: float) -> Cell:
        """Run a cell, or take what is known, or refuse it."""
        path = self.results / kind / f"{model}-{megapixels:g}-mp.json"
        request = self._request(kind, model, megapixels)
        key = sha256_json(
            {
                "kind": kind,
                "model": model,
                "params": request["params"],
                "image": self.base_name,
                "megapixels": megapixels,
                "code": code_sha256(*_code_of(model)),
            }
        )
        known: Cell = read_json(path) if path.is_file() else {}
        if known.get("key") == key and "refused" not in known:
            log.info("%s %s at %g MP is known", kind, model, megapixels)
            return known
        cell = {"key": key, "model": model, "megapixels": megapixels, "image": self.base_name}
        path.parent.mkdir(parents=True, exist_ok=True)
        if reason := self._too_much(kind, model, megapixels):
            log.info("%s %s at %g MP is refused: %s", kind, model, megapixels, reason)
            cell["refused"] = reason
        else:
            log.info("%s %s at %g MP runs", kind, model, megapixels)
            load = os.getloadavg()[0]
            cell |= _child(self._with_files(request, model, megapixels))
            cell |= {"plan": self._plan(model), "load_before": load, "machine": _machine()}
        write_json(path, cell)
        return cell

    def _too_much(self, kind: Kind, model: str, megapixels: float) -> str | None:
        """Say why a cell would take too much, going by the smaller ones."""
        cells = known_cells(self.results / kind, model)
        smaller = [c for c in cells if c["megapixels"] < megapixels and "refused" not in c]
        if not smaller:
            return None
        n_pixels = edge_of(megapixels) ** 2
        n_bytes = extrapolated([(c["n_pixels"], peak_bytes(c)) for c in smaller], n_pixels)
        limit = min(self.max_bytes, int(_OF_MACHINE * available_memory_bytes()))
        if n_bytes > limit:
            return f"about {n_bytes / 2**30:.0f} GiB of {limit / 2**30:.1f} that may be taken"
        last = smaller[-1]
        seconds = cpu_seconds(last) / last["n_pixels"] * n_pixels
        if seconds > self.max_seconds:
            return f"about {seconds:.0f} processor seconds of {self.max_seconds:.0f}"
        return None

    def _request(self, kind: Kind, model: str, megapixels: float) -> Cell:
        """Say what the process shall do, but for the files."""
        params = self.params.model_dump(mode="json")
        train = params["train"]
        for name in ("gnn", "mlp", "cnn"):
            train[name]["epochs"] = 1
            train[name]["max_minutes"] = None
        train["cnn"]["steps_per_epoch"] = _WHOLES if model == "unet-whole" else _PATCHES
        if model == "unet-whole":
            train["cnn"] |= {"patch_px": edge_of(megapixels), "batch": 1}
        name = "cnn" if "unet" in model else model
        return {"kind": kind, "model": name, "params": params, "overlap": train["cnn"]["overlap"]}

    def _with_files(self, request: Cell, model: str, megapixels: float) -> Cell:
        """Make the files that a request needs."""
        small, folder = (self._set(mp) for mp in (_SMALL_MP, megapixels))
        if request["kind"] == "train":
            return {**request, "work": str(self.work), "set": str(folder), "small_set": str(small)}
        image, small_image = (str(f / "images/train.tif") for f in (folder, small))
        request |= {"work": str(self.work), "image": image, "small_image": small_image}
        if "unet" not in model:
            request["bundle"] = str(self._bundle(model, request))
        return request

    def _set(self, megapixels: float) -> Path:
        folder = self.work / f"set-{megapixels:g}-mp"
        write_set(self.pixels, self.mask, edge_of(megapixels), folder)
        return folder

    def _bundle(self, model: str, request: Cell) -> Path:
        """Write a bundle once, in a process that ends: it needs torch, inference does not."""
        trained = self.results / "train" / f"{model}-1-mp.json"
        nodes = read_json(trained)["nodes_per_megapixel"] if trained.is_file() else 3000.0
        code = code_sha256("nets", "export", "predict", "graph", "superpixels")
        name = sha256_json([model, nodes, request["params"]["train"][model], code])[:12]
        folder = self.work / f"bundle-{model}-{name}"
        if not folder.is_dir():
            image = str(self._set(1.0) / "images/train.tif")
            _child({**request, "kind": "bundle", "bundle": str(folder), "image": image,
                    "nodes": nodes})  # fmt: skip
        return folder

    def _plan(self, model: str) -> Cell:
        """Epochs and steps of a whole training by the settings."""
        train = self.params.train
        if "unet" in model:
            return {"epochs": train.cnn.epochs, "steps": train.cnn.steps_per_epoch}
        own = train.gnn if model == "gnn" else train.mlp
        n_graphs = 2 * own.changed or 1
        return {"epochs": own.epochs, "steps": samples_per_epoch(n_graphs) * own.members}


def known_cells(folder: Path, model: str) -> list[Cell]:
    """Read the cells of a model, by size."""
    cells: list[Cell] = [read_json(path) for path in folder.glob(f"{model}-*-mp.json")]
    return sorted(cells, key=lambda cell: cell["megapixels"])


def peak_bytes(cell: Cell) -> int:
    """Peak of all phases above the idle process."""
    return max(p["peak_rss_bytes"] for p in cell["phases"].values()) - cell["idle_bytes"]


def cpu_seconds(cell: Cell) -> float:
    """Processor seconds of all phases."""
    return sum(p["cpu_seconds"] for p in cell["phases"].values())


def extrapolated(points: list[tuple[float, float]], at: float) -> float:
    """Go on in a line through the last two points, or in proportion to a single one."""
    (x, y) = points[-1]
    if len(points) == 1:
        return y * at / x
    (x0, y0) = points[-2]
    return max(y, y + (y - y0) / (x - x0) * (at - x))


def _code_of(model: str) -> tuple[str, ...]:
    return code_of("cnn") if "unet" in model else (*code_of("gnn"), "predict")


def _machine() -> Cell:
    return {"cores": os.cpu_count(), "processor": platform.machine()}


def _child(request: Cell) -> Cell:
    """Measure in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.cost.child", json.dumps(request)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        what = {name: request[name] for name in ("kind", "model")}
        raise RuntimeError(f"{what} ended with {done.returncode}; its message is above")
    answer: Cell = json.loads(done.stdout.splitlines()[-1])
    return answer
