"""The OpenAPI document is true: what schemathesis makes of it is answered as it says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spixgraph.serve.keys import add_key
from tests.serving.bad_images import png
from tests.serving.server import serving
from tests.toy_bundle import write_toy_bundle

pytestmark = [pytest.mark.serving, pytest.mark.timeout(240)]
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance,unsupported_method,"
    "negative_data_rejection,ignored_auth,use_after_free"
)


def test_answers_are_as_the_document_says(tmp_path):
    samples = tmp_path / "samples"
    samples.mkdir()
    (samples / "a.png").write_bytes(png())
    key = add_key(tmp_path / "keys", "anna")
    settings = {
        "SPIXGRAPH_KEYS": str(tmp_path / "keys"),
        "SPIXGRAPH_SAMPLES": str(samples),
        "SPIXGRAPH_ROOTS": str(samples),
        "SPIXGRAPH_MAX_JOBS": "20",
    }
    bundle = write_toy_bundle(tmp_path / "bundle")
    with serving(bundle, tmp_path / "served", settings) as served:
        command = [
            sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()",
            "run", f"{served.url}/openapi.json", "--checks", CHECKS, "--seed", "1",
            "--max-examples", "8", "--phases", "coverage,fuzzing,stateful", "--no-color",
            "--generation-database", "none", "--continue-on-failure",
            "-H", f"Authorization: Bearer {key}",
        ]  # fmt: skip
        here = Path(__file__).with_name("openapi_hooks.py")
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=200,
            env={**os.environ, "SCHEMATHESIS_HOOKS": str(here), "PYTHONPATH": str(here.parents[2])},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
        assert served.left_behind() == []
        assert "Traceback" not in served.log.read_text()
