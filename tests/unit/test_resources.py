import contextlib
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from spixgraph import resources
from spixgraph.graph.stream.heap import give_back
from spixgraph.resources import PeakMemory, available_memory_bytes

MB = 1_000_000


def allocate(n_bytes: int) -> None:
    block = np.ones(n_bytes, np.uint8)
    time.sleep(0.05)
    del block


@pytest.fixture(params=["kernel", "sampler"])
def way(request, monkeypatch, tmp_path):
    """Measure by the kernel where it can, and by the sampling thread.

    Memory that earlier tests freed and the heap kept would serve an array without a new page.
    """
    give_back()
    if request.param == "sampler":
        monkeypatch.setattr(resources, "_CLEAR_REFS", tmp_path / "no" / "such")
    else:
        with PeakMemory() as memory:
            pass
        if not memory.exact:
            pytest.skip("this kernel has no high-water mark that can be set back")
    return request.param


def test_a_known_array_is_seen_after_it_is_gone(way):
    with PeakMemory() as memory:
        allocate(200 * MB)
    assert memory.exact == (way == "kernel")
    assert memory.peak_rss_bytes - memory.baseline_rss_bytes == memory.above_baseline_bytes
    assert 195 * MB < memory.above_baseline_bytes < 230 * MB


def test_what_was_before_does_not_count(way):
    allocate(200 * MB)
    with PeakMemory() as memory:
        allocate(20 * MB)
    assert memory.above_baseline_bytes < 60 * MB
    allocate(200 * MB)
    assert memory.above_baseline_bytes < 60 * MB


def test_an_inner_block_does_not_hide_the_peak_of_the_outer_one(way):
    with PeakMemory() as outer:
        allocate(200 * MB)
        with PeakMemory() as inner:
            allocate(50 * MB)
    assert outer.above_baseline_bytes > 190 * MB
    assert 40 * MB < inner.above_baseline_bytes < 100 * MB


def test_the_outer_block_sees_the_peak_of_the_inner_one(way):
    with PeakMemory() as outer, PeakMemory():
        allocate(150 * MB)
    assert outer.above_baseline_bytes > 140 * MB


def test_the_peak_can_be_read_inside(way):
    with PeakMemory() as memory:
        allocate(120 * MB)
        assert memory.above_baseline_bytes > 110 * MB


def test_a_block_that_fails_is_closed(way):
    memory = PeakMemory()
    with contextlib.suppress(RuntimeError), memory:
        allocate(50 * MB)
        raise RuntimeError
    assert memory.peak_rss_bytes > 0
    assert not resources._open


def test_a_child_does_not_inherit_the_peak_of_its_parent():
    code = (
        "from spixgraph.resources import PeakMemory\n"
        "with PeakMemory() as m: pass\n"
        "import sys; sys.stdout.write(str(m.peak_rss_bytes))"
    )
    block = np.ones(400 * MB, np.uint8)
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert int(child.stdout) < block.nbytes / 2


def test_available_memory_is_that_of_the_machine_without_a_control_group(monkeypatch, tmp_path):
    monkeypatch.setattr(resources, "_CGROUP", tmp_path)
    assert 0 < available_memory_bytes() <= psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("folder", "limit", "usage", "cache"),
    [
        ("", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ],
)
def test_a_control_group_limits_it(monkeypatch, tmp_path, folder, limit, usage, cache):
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / limit).write_text(f"{9 * MB}\n")
    (tmp_path / folder / usage).write_text(f"{6 * MB}\n")
    (tmp_path / folder / "memory.stat").write_text(f"anon {4 * MB}\n{cache} {2 * MB}\n")
    monkeypatch.setattr(resources, "_CGROUP", tmp_path)
    assert available_memory_bytes() == 5 * MB
    (tmp_path / folder / usage).write_text(f"{99 * MB}\n")
    assert available_memory_bytes() == 0


def test_an_unlimited_control_group_is_no_limit(monkeypatch, tmp_path):
    (tmp_path / "memory.max").write_text("max\n")
    monkeypatch.setattr(resources, "_CGROUP", tmp_path)
    assert available_memory_bytes() > 5 * MB
