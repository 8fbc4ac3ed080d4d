"""A real Bento, built and served; minutes, so behind the marker `serving`."""

import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
import tifffile
from PIL import Image

from spixgraph.predict.bundle import bundle_sha256
from tests.real_data import real_data
from tests.serving.server import free_port, stop, wait_until_ready
from tests.toy_bundle import BASINS, blob_image, write_toy_bundle

pytestmark = [pytest.mark.serving, pytest.mark.timeout(420)]
REPOSITORY = Path(__file__).resolve().parents[2]
ALL = slice(None)
MAX_BODY_MB = 1
CODE = [os.environ[name] for name in ("PYTHONPATH",) if os.environ.get(name)]


@dataclass
class Served:
    url: str
    log: Path
    process: subprocess.Popen[bytes]
    bundle: Path
    tag: str


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """With basins, the superpixels that users serve."""
    return write_toy_bundle(tmp_path_factory.mktemp("b") / "bundle", recipe=BASINS)


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
        "PYTHONPATH": os.pathsep.join([str(blocked), *CODE]),
        "SPIXGRAPH_MAX_BODY_MB": str(MAX_BODY_MB),
        "SPIXGRAPH_IDLE_TIMEOUT_S": "2",
        "TMPDIR": str(scratch),
    }


def spixgraph(environment, *args, cwd=REPOSITORY) -> str:
    command = [sys.executable, "-c", "from spixgraph.cli import main; main()", *map(str, args)]
    done = subprocess.run(
        command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tag(bundle, environment) -> str:
    return spixgraph(environment, "bento", "build", bundle).splitlines()[0]


@pytest.fixture(scope="module")
def compiled_by_build(environment, tag) -> list[str]:
    return compiled_in(environment, tag)


@pytest.fixture(scope="module")
def served(bundle, environment, tag, compiled_by_build, tmp_path_factory) -> Iterator[Served]:
    with bento_served(tag, environment, tmp_path_factory.mktemp("elsewhere")) as found:
        yield Served(*found, bundle, tag)


@contextmanager
def bento_served(tag, environment, folder) -> Iterator[tuple[str, Path, subprocess.Popen[bytes]]]:
    """Serve a Bento from a folder that is not the repository."""
    port, log = free_port(), folder / "log"
    command = [sys.executable, "-m", "bentoml", "serve", tag, "--host", "127.0.0.1"]
    with log.open("w") as handle:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            env=environment,
            cwd=folder,
            stdout=handle,
            stderr=handle,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(url, process, log)
        yield url, log, process
    finally:
        stop(process)


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


def compiled_in(environment, tag) -> list[str]:
    """Machine code of the kernels in the source of a Bento, and when it was written."""
    bento = Path(environment["BENTOML_HOME"]) / "bentos" / tag.replace(":", "/")
    found = (bento / "src").rglob("*.nbc")
    return sorted(f"{path.name} {path.stat().st_mtime_ns}" for path in found)


def test_the_first_start_compiles_nothing(served, environment, compiled_by_build):
    pixels = blob_image(96, seed=9).read(ALL, ALL, ALL)[0, ..., 0]
    deep = io.BytesIO()
    tifffile.imwrite(deep, pixels.astype(np.uint16) * 200)
    assert post(served, image_bytes("png")).status_code == 200
    assert post(served, deep.getvalue(), format="zip", extras="probabilities").status_code == 200
    assert len(compiled_by_build) > 40
    assert compiled_in(environment, served.tag) == compiled_by_build


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


def test_older_tag_serves_the_older_model_with_newer_ones_in_the_store(
    served, environment, tag, tmp_path
):
    other = write_toy_bundle(tmp_path / "bundle", seed=1)
    newer = spixgraph(environment, "bento", "build", other).splitlines()[0]
    assert newer != tag
    said = httpx.get(f"{served.url}/model").json()
    assert said["bundle_sha256"] == bundle_sha256(served.bundle)
    with bento_served(tag, environment, tmp_path) as (url, _, _process):
        assert httpx.get(f"{url}/model").json() == said


def test_page_metrics_and_jobs_are_there_in_a_bento_too(served):
    assert "<title>spixgraph</title>" in httpx.get(served.url).text
    assert "spixgraph_model_info" in httpx.get(f"{served.url}/metrics").text
    assert httpx.get(f"{served.url}/nothing").json() == {"error": "Not Found"}
    job = httpx.post(f"{served.url}/jobs", files={"image": image_bytes("png")}).json()
    for _ in range(600):
        state = httpx.get(f"{served.url}/jobs/{job['id']}").json()
        if state["state"] in ("done", "failed"):
            break
        time.sleep(0.1)
    assert state["state"] == "done", state
    mask = httpx.get(f"{served.url}/jobs/{job['id']}/result?format=png").content
    assert mask == post(served, image_bytes("png")).content


def test_slow_head_is_not_waited_for(served):
    with socket.create_connection(("127.0.0.1", httpx.URL(served.url).port), 30) as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        assert line.recv(65_536).startswith(b"HTTP/1.1 408 ")


def test_asked_for_a_gpu_that_is_not_there_the_service_refuses_to_start(environment, tag, tmp_path):
    command = [sys.executable, "-m", "bentoml", "serve", tag, "--port", str(free_port())]
    hidden = {**environment, "SPIXGRAPH_DEVICE": "cuda", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        command, env=hidden, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode != 0
    assert "device cuda was asked for" in done.stdout + done.stderr


def test_wrong_settings_refuse_to_start(environment, tag, tmp_path):
    command = [sys.executable, "-m", "bentoml", "serve", tag, "--port", str(free_port())]
    wrong = {**environment, "SPIXGRAPH_MAX_BODY_MB": "none"}
    done = subprocess.run(
        command, env=wrong, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode != 0
    assert "SPIXGRAPH_MAX_BODY_MB must be a number > 0" in done.stdout + done.stderr


def test_container_has_cuda_no_torch_no_compiler_and_no_root(environment, tag, bundle):
    name, version = tag.split(":")
    bento = Path(environment["BENTOML_HOME"]) / "bentos" / name / version
    docker = (bento / "env/docker/Dockerfile").read_text()
    for text in (docker, (bento / "bento.yaml").read_text()):
        for word in ("build-essential", "gcc", "torch", "mlflow"):
            assert word not in text
    assert docker.index("USER bentoml") < docker.index("ENTRYPOINT [")
    assert "python:3.11-slim" in docker
    wanted = (bento / "env/python/requirements.txt").read_text().splitlines()
    assert all("==" in line for line in wanted)
    (ort,) = [line for line in wanted if line.startswith("onnxruntime")]
    assert ort.startswith("onnxruntime-gpu[cuda,cudnn]==")
    small = spixgraph(environment, "bento", "build", bundle, "--device", "cpu").splitlines()[0]
    path = Path(environment["BENTOML_HOME"]) / "bentos" / small.replace(":", "/")
    assert "[cuda" not in (path / "env/python/requirements.txt").read_text()


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


def test_bento_of_the_champion_names_its_version_and_is_noted_on_it(
    environment, bundle, tag, tmp_path
):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with_mlflow = {**environment, "MLFLOW_TRACKING_URI": uri}
    with_mlflow["PYTHONPATH"] = os.pathsep.join(CODE)
    proof = tmp_path / "verification.json"
    proof.write_text(f'{{"bundle_sha256": "{bundle_sha256(bundle)}", "parity_max_difference": 0}}')
    name = "spixgraph-toy"
    spixgraph(with_mlflow, "model", "register", bundle, "--verification", proof)
    overruled = ("--force", "--why", "a test without images")
    spixgraph(with_mlflow, "model", "promote", name, "--version", 1, *overruled, cwd=tmp_path)
    built = spixgraph(with_mlflow, "bento", "build", f"{name}@champion").splitlines()[0]
    assert built == tag.replace(":", ":v1-")
    shown = json.loads(spixgraph(with_mlflow, "model", "show", f"{name}@champion", "--json"))
    assert shown["tags"]["bento"] == built
    assert shown["tags"]["gate.why"] == "a test without images"


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


def test_bento_of_a_killed_build_is_made_again(environment, tmp_path):
    other = write_toy_bundle(tmp_path / "bundle", seed=2)
    first = spixgraph(environment, "bento", "build", other).splitlines()[0]
    bento = Path(environment["BENTOML_HOME"]) / "bentos" / first.replace(":", "/")
    for lost in ("bento.yaml", "src/spixgraph/serve/app.py"):
        (bento / lost).unlink()
        assert spixgraph(environment, "bento", "build", other).splitlines()[0] == first
        assert (bento / lost).is_file()


def test_server_stops_cleanly_and_leaves_nothing(served, environment):
    stop(served.process)
    assert served.process.returncode == 0
    left = [p.name for p in Path(environment["TMPDIR"]).iterdir() if "spixgraph" in p.name]
    assert left == []
    assert "Traceback" not in served.log.read_text()
