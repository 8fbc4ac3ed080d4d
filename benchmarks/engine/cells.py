"""Cells of the benchmark: each is kept as JSON with a hash of what it was made from.

So a benchmark that was stopped goes on where it was, and cells of several machines are put together
by copying files.
"""

import json
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.engine import methods
from benchmarks.engine.mosaic import edge_of, write_mosaic
from spixgraph.arrays import Array
from spixgraph.files import code_sha256, read_json, sha256_json, write_json

log = logging.getLogger("benchmarks.engine")

Cell = dict[str, Any]
BUDGETS = (1000.0, 2500.0, 8000.0)
NODES = 3000.0
_ALONE_MP = 20
"""Beyond this, a size is run once, and against nobody."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where cells lie, and how they are run.

    Attributes
    ----------
    results, work : Path
        JSON files; mosaics, which may be deleted.
    base_name : str
        Of the image that mosaics are made of.
    base : (Y, X) array
    threads, repeats, images : int
        `images` of each data set count for the ceiling.
    """

    results: Path
    work: Path
    base_name: str
    base: Array
    threads: int
    repeats: int
    images: int

    def compare(self, megapixels: float, turn: int) -> Cell:
        """Run each method once on one image, one after the other."""
        names = [n for n in (methods.OURS, *methods.OTHERS, methods.PAPER) if methods.is_there(n)]

        def make() -> Cell:
            runs = {name: self._run(name, megapixels, self.threads) for name in names}
            runs[f"{methods.OURS}, 1 thread"] = self._run(methods.OURS, megapixels, 1)
            return {"runs": runs, "n_pixels": edge_of(megapixels) ** 2}

        settings = {"megapixels": megapixels, "methods": names, "turn": turn}
        return self._cell(f"compare/{megapixels:g}-mp-{turn}", settings, make)

    def scale(self, megapixels: float) -> Cell:
        """Run the engine alone on one size."""
        repeats = self.repeats if megapixels <= _ALONE_MP else 1
        settings = {"megapixels": megapixels, "repeats": repeats}

        def make() -> Cell:
            runs = [self._run(methods.OURS, megapixels, self.threads) for _ in range(repeats)]
            return {"runs": runs, "n_pixels": edge_of(megapixels) ** 2}

        return self._cell(f"scale/{megapixels:g}-mp", settings, make)

    def stages(self, megapixels: float) -> Cell:
        """Say where the time goes."""

        def make() -> Cell:
            image = str(self._image(megapixels))
            return _child({"kind": "stages", "image": image, "nodes": NODES})

        return self._cell("stages", {"megapixels": megapixels}, make)

    def ceiling(self, folder: Path) -> Cell:
        """Judge superpixels of a data set, each budget and method."""
        settings = {"set": folder.name, "images": self.images, "nodes": BUDGETS, "tolerance": 0.05}

        def make() -> Cell:
            request = {"kind": "ceiling", "folder": str(folder), "nodes": BUDGETS}
            return _child({**request, "images": self.images, "threads": self.threads})

        return self._cell(f"ceiling/{folder.name}", settings, make)

    def _run(self, method: str, megapixels: float, threads: int) -> Cell:
        image = str(self._image(megapixels))
        request = {"kind": "run", "method": method, "image": image, "nodes": NODES}
        return _child({**request, "threads": threads})

    def _image(self, megapixels: float) -> Path:
        path = self.work / f"mosaic-{megapixels:g}-mp.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_mosaic(self.base, edge_of(megapixels), path)
        return path

    def _cell(self, name: str, settings: Cell, make: Callable[[], Cell]) -> Cell:
        """Run a cell, or take what is known."""
        path = self.results / f"{name}.json"
        key = sha256_json(
            {
                "cell": name,
                "settings": settings,
                "image": self.base_name,
                "threads": self.threads,
                "code": code_sha256("graph", "superpixels", "io"),
            }
        )
        known: Cell = read_json(path) if path.is_file() else {}
        if known.get("key") == key:
            log.info("%s is known", name)
            return known
        log.info("%s runs", name)
        machine = {"cores": os.cpu_count(), "processor": platform.machine()}
        load = os.getloadavg()[0]
        found = make()
        cell = {"key": key, "settings": settings, "image": self.base_name, "nodes": NODES}
        cell |= {"threads": self.threads, "machine": machine, "load_before": load, **found}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, cell)
        return cell


def _child(request: Cell) -> Cell:
    """Measure in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.engine.child", json.dumps(request)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{request} ended with {done.returncode}; its message is above")
    answer: Cell = json.loads(done.stdout.splitlines()[-1])
    return answer
