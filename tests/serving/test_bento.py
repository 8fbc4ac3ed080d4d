"""A real Bento, built and served; minutes, so behind the marker `serving`."""

import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import tifffile
from PIL import Image

from spixgraph.config.recipe import GraphRecipe
from spixgraph.predict.bundle import bundle_sha256
from tests.real_data import real_data
from tests.toy_bundle import blob_image, write_toy_bundle

pytestmark = [pytest.mark.serving, pytest.mark.timeout(420)]
REPOSITORY = Path(__file__).resolve().parents[2]
ALL = slice(None)
START_SECONDS = 120
MAX_BODY_MB = 1


@dataclass
class Served:
    url: str
    log: Path
    bundle: Path
    tag: str
    process: subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """With the default recipe, the one that users serve."""
    return write_toy_bundle(tmp_path_factory.mktemp("b") / "bundle", recipe=GraphRecipe())


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """An own store, and no torch, mlflow or onnx to be imported."""
    home = tmp_path_factory.mktemp("bentoml")
    blocked = tmp_path_factory.mktemp("blocked")
    for name in ("torch", "mlflow", "onnx"):
        (blocked / f"{name}.py").write_text("raise ImportError('this must run without it')\n")
    scratch = tmp_path_factory.mktemp("scratch")
    return {
        **os.environ,
        "BENTOML_HOME": str(home),
        "BENTOML_DO_NOT_TRACK": "True",
        "PYTHONPATH": str(blocked),
        "SPIXGRAPH_MAX_BODY_MB": str(MAX_BODY_MB),
        "TMPDIR": str(scratch),
    }


def spixgraph(environment, *args) -> str:
    command = [sys.executable, "-c", "from spixgraph.cli import main; main()", *map(str, args)]
    done = subprocess.run(
        command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tag(bundle, environment) -> str:
    return spixgraph(environment, "bento", "build", bundle).splitlines()[0]


@pytest.fixture(scope="module")
def served(bundle, environment, tag, tmp_path_factory) -> Iterator[Served]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    log = elsewhere / "log"
    command = [sys.executable, "-m", "bentoml", "serve", tag, "--host", "127.0.0.1"]
    with log.open("w") as handle:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            env=environment,
            cwd=elsewhere,
            stdout=handle,
            stderr=handle,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(url, process, log)
        yield Served(url, log, bundle, tag, process)
    finally:
        stop(process)


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.3)
    raise AssertionError(f"not ready after {START_SECONDS} s: {log.read_text()}")


def stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def image_bytes(kind: str, size: int = 96) -> bytes:
    out, pixels = io.BytesIO(), blob_image(size, seed=9).read(ALL, ALL, ALL)[0, ..., 0]
    if kind == "png":
        Image.fromarray(pixels).save(out, "PNG")
    else:
        tifffile.imwrite(out, pixels, resolution=(20_000, 20_000), resolutionunit="CENTIMETER")
    return out.getvalue()


def post(served: Served, data: bytes, **fields: str) -> httpx.Response:
    files = {"image": ("image", data)}
    return httpx.post(f"{served.url}/segment", files=files, data=fields, timeout=60)


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_mask_has_the_bytes_of_the_command(served, environment, tmp_path, kind):
    image, out = tmp_path / f"image.{kind}", tmp_path / f"mask.{kind}"
    image.write_bytes(image_bytes(kind))
    spixgraph(environment, "segment", image, out, "--model", served.bundle)
    response = post(served, image.read_bytes())
    assert response.status_code == 200, response.text
    assert response.content == out.read_bytes()


def test_a_real_image_has_the_mask_of_the_command(served, environment, tmp_path):
    image = min((real_data("axon_tem") / "images").iterdir())
    out = tmp_path / "mask.png"
    spixgraph(environment, "segment", image, out, "--model", served.bundle)
    response = post(served, image.read_bytes())
    assert response.status_code == 200, response.text
    assert response.content == out.read_bytes()


def test_model_is_the_pinned_one(served):
    said = httpx.get(f"{served.url}/model").json()
    assert said["bundle_sha256"] == bundle_sha256(served.bundle)
    assert served.tag.partition(":")[2].startswith(said["version"])


def test_old_bento_goes_on_serving_its_own_model(served, environment, tmp_path):
    other = write_toy_bundle(tmp_path / "bundle", seed=1)
    newer = spixgraph(environment, "bento", "build", other).splitlines()[0]
    assert newer != served.tag
    said = httpx.get(f"{served.url}/model").json()
    assert said["bundle_sha256"] == bundle_sha256(served.bundle)


def test_text_is_400_and_one_line(served):
    response = post(served, b"hello\n")
    assert response.status_code == 400
    assert "neither PNG nor TIFF" in response.json()["error"]
    assert response.text.count("\n") == 1


def test_too_large_is_413(served):
    response = post(served, bytes(int(MAX_BODY_MB * 1.1e6)))
    assert response.status_code == 413
    assert f"{MAX_BODY_MB} MB are allowed" in response.json()["error"]


def test_health(served):
    for route in ("readyz", "livez", "healthz"):
        assert httpx.get(f"{served.url}/{route}").status_code == 200


def test_same_bundle_is_no_second_bento(environment, bundle, tag):
    assert spixgraph(environment, "bento", "build", bundle).splitlines()[0] == tag
    name, version = tag.split(":")
    bentos = Path(environment["BENTOML_HOME"]) / "bentos" / name
    assert [p.name for p in bentos.iterdir() if p.name.startswith(version)] == [version]


def test_champion_of_the_registry_is_the_same_bento(environment, bundle, tag, tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with_mlflow = {**environment, "MLFLOW_TRACKING_URI": uri}
    del with_mlflow["PYTHONPATH"]
    spixgraph(with_mlflow, "model", "register", bundle)
    spixgraph(with_mlflow, "model", "promote", "spixgraph-toy", "--version", 1)
    built = spixgraph(with_mlflow, "bento", "build", "spixgraph-toy@champion")
    assert built.splitlines()[0] == tag


def test_two_bentos_of_one_process_have_their_own_models(environment, tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from spixgraph.serve.bento import build_bento\n"
        "import bentoml\n"
        "for path in sys.argv[1:]:\n"
        "    tag = build_bento(Path(path), bentofile=Path('bentofile.yaml'))\n"
        "    print(tag, bentoml.bentos.get(tag).info.all_models[0].tag)\n"
    )
    bundles = [write_toy_bundle(tmp_path / str(seed), seed=seed) for seed in (3, 4)]
    command = [sys.executable, "-c", code, *map(str, bundles)]
    done = subprocess.run(
        command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    for line, path in zip(done.stdout.splitlines(), bundles, strict=True):
        bento_tag, model_tag = line.split()
        assert bento_tag.startswith(model_tag)
        assert model_tag.endswith(bundle_sha256(path)[:12])


@pytest.mark.parametrize("lost", ["bento.yaml", "src/spixgraph/serve/app.py"])
def test_bento_of_a_killed_build_is_made_again(environment, tmp_path, lost):
    other = write_toy_bundle(tmp_path / "bundle", seed=2)
    first = spixgraph(environment, "bento", "build", other).splitlines()[0]
    name, version = first.split(":")
    part = Path(environment["BENTOML_HOME"]) / "bentos" / name / version / lost
    part.unlink()
    assert spixgraph(environment, "bento", "build", other).splitlines()[0] == first
    assert part.is_file()


def test_server_stops_cleanly_and_leaves_nothing(served, environment):
    stop(served.process)
    assert served.process.returncode == 0
    left = [p.name for p in Path(environment["TMPDIR"]).iterdir() if "spixgraph" in p.name]
    assert left == []
    assert "Traceback" not in served.log.read_text()
