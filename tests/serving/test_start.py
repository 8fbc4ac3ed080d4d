"""What is decided when `spixgraph serve run` starts."""

import os
import subprocess
import sys

import pytest

from tests.toy_bundle import write_toy_bundle

pytestmark = [pytest.mark.serving, pytest.mark.timeout(120)]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"SPIXGRAPH_DEVICE": "cuda", "CUDA_VISIBLE_DEVICES": ""}, "device cuda was asked for"),
        ({"SPIXGRAPH_GPU_MEMORY_MB": "much"}, "SPIXGRAPH_GPU_MEMORY_MB must be a number > 0"),
    ],
)
def test_the_service_refuses_to_start_with_the_reason(tmp_path, settings, reason):
    (tmp_path / "scratch").mkdir()
    bundle = write_toy_bundle(tmp_path / "bundle")
    command = [sys.executable, "-c", "from spixgraph.cli import main; main()", "serve", "run"]
    done = subprocess.run(
        [*command, str(bundle), "--port", "0"], capture_output=True, text=True, timeout=100,
        env={**os.environ, "TMPDIR": str(tmp_path / "scratch"), **settings},
    )  # fmt: skip
    assert done.returncode not in (0, -9)
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
    assert [p.name for p in (tmp_path / "scratch").iterdir() if p.name != ".ses"] == []
