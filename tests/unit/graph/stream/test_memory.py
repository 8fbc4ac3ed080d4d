"""The memory contract: predicted against measured, and what a limit does."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spixgraph.errors import ResourceError
from spixgraph.graph.stream import stream_graph
from spixgraph.graph.stream.memory import choose_workers, idle_bytes, predicted_bytes
from spixgraph.io.images import ArraySource
from spixgraph.io.source import ImageInfo
from tests.unit.graph.stream.images import pixels_of
from tests.unit.graph.stream.measure_peak import size_of

ROOT = Path(__file__).resolve().parents[4]
CASES = [
    ((1, 2048, 2048, 1), "uint8", "plane", 3000, 1),
    ((1, 2048, 2048, 1), "uint8", "plane", 3000, 2),
    ((1, 512, 9000, 1), "uint8", "plane", 3000, 2),
    ((1, 9000, 512, 1), "uint8", "plane", 3000, 2),
    ((1, 1600, 2048, 3), "uint16", "plane", 3000, 2),
    ((1, 1500, 2000, 6), "uint8", "plane", 1000, 2),
    ((1, 1600, 2048, 1), "float32", "plane", 8000, 2),
    ((1, 4200, 4200, 1), "uint8", "plane", 1000, 2),
    ((1, 1100, 16000, 1), "uint8", "tiff", 3000, 2),
    ((1, 1024, 1024, 1), "uint8", "plane", 30000, 2),
    ((6, 1024, 1024, 1), "uint8", "stack", 3000, 2),
    ((140, 192, 192, 1), "uint8", "volume", 3000, 2),
]


@pytest.mark.parametrize(("shape", "dtype", "kind", "nodes", "workers"), CASES)
def test_the_peak_is_what_was_predicted(shape, dtype, kind, nodes, workers):
    info = ImageInfo(shape, np.dtype(dtype), size_of(kind == "volume"))
    predicted = predicted_bytes(info, nodes_per_megapixel=nodes, workers=workers).peak
    script = Path(__file__).with_name("measure_peak.py")
    arguments = [str(v) for v in (*shape, dtype, kind, nodes, workers)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(
        [sys.executable, script, *arguments], env=env, capture_output=True, text=True, check=True
    )
    taken, held = (int(n) for n in done.stdout.split())
    assert taken == pytest.approx(predicted + held, rel=0.2)


def test_gigapixels_stay_within_the_goals():
    for edge, limit in ((20_000, 150 << 20), (45_000, 200 << 20)):
        info = ImageInfo((1, edge, edge, 1), np.dtype(np.uint8))
        assert predicted_bytes(info, nodes_per_megapixel=3000, workers=2).peak < limit


def test_a_limit_takes_fewer_workers_then_refuses(tmp_path):
    info = ImageInfo((1, 20_000, 20_000, 1), np.dtype(np.uint8))
    idle = idle_bytes()
    need = {n: predicted_bytes(info, nodes_per_megapixel=3000, workers=n).peak for n in (1, 2, 8)}
    assert need[1] < need[2] < need[8]
    options: dict[str, Any] = {"nodes_per_megapixel": 3000, "workers": 8, "roi": None}
    slack = 5 << 20
    assert choose_workers(info, max_bytes=None, **options) == 8
    assert choose_workers(info, max_bytes=idle + need[2] + slack, **options) == 2
    assert choose_workers(info, max_bytes=idle + need[1] + slack, **options) == 1
    more = {**options, "held_bytes": need[1]}
    assert choose_workers(info, max_bytes=idle + 2 * need[1] + slack, **more) == 1
    with pytest.raises(ResourceError, match=r"needs \d+ MB with one worker"):
        choose_workers(info, max_bytes=idle, **options)
    out = tmp_path / "g.zarr"
    with pytest.raises(ResourceError, match="allows 1 MB"):
        stream_graph(
            ArraySource(pixels_of((1, 90, 90, 1))), out, nodes_per_megapixel=3000, max_bytes=10**6
        )
    assert list(tmp_path.iterdir()) == []
