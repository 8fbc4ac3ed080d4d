"""The registry on an `mlflow server` with PostgreSQL, as a team has it; and losing it."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from spixgraph.errors import ResourceError
from spixgraph.predict.bundle import bundle_sha256
from spixgraph.registry import versions
from spixgraph.registry.promotion import promote, rollback, standing_of
from tests.serving.server import free_port
from tests.toy_bundle import write_toy_bundle
from tests.unit.registry.exams import PASSED, exam

pytestmark = [pytest.mark.serving, pytest.mark.timeout(300)]
NAME = "spixgraph-team"
START_SECONDS = 120


def postgres_folder() -> Path:
    """Where Debian puts PostgreSQL's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("PostgreSQL is not installed; on Debian: apt-get install postgresql")
    return found[-1].parent


@dataclass
class Postgres:
    """A database of its own; the server refuses to run as root, so root gives it to `postgres`."""

    programs: Path
    folder: Path
    port: int

    def run(self, program: str, *args: str) -> None:
        command = [str(self.programs / program), *args]
        user = "postgres" if os.geteuid() == 0 else None
        with (self.folder / "log").open("a") as log:
            done = subprocess.run(command, stdout=log, stderr=log, cwd=self.folder, user=user)
        assert done.returncode == 0, (self.folder / "log").read_text()

    def start(self) -> None:
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder}"
        self.run("pg_ctl", "-D", str(self.folder / "db"), "-w", "-o", options, "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-D", str(self.folder / "db"), "-m", "immediate", "stop")


@pytest.fixture(scope="module")
def postgres(tmp_path_factory) -> Iterator[Postgres]:
    made = Postgres(postgres_folder(), Path("/tmp") / f"spixgraph-pg-{os.getpid()}", free_port())
    made.folder.mkdir()
    if os.geteuid() == 0:
        shutil.chown(made.folder, "postgres", "postgres")
    (made.folder / "log").touch()
    try:
        made.run("initdb", "-D", str(made.folder / "db"), "-A", "trust", "-U", "team")
        made.start()
        yield made
        made.stop()
    finally:
        shutil.rmtree(made.folder)


@pytest.fixture(scope="module")
def uri(postgres, tmp_path_factory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    database = f"postgresql+psycopg2://team@127.0.0.1:{postgres.port}/postgres"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", database, "--workers", "1"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    env = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, env=env, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait(f"http://127.0.0.1:{port}/health", process, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.3)
    raise AssertionError(log.read_text())


def test_lifecycle_and_a_lost_database(uri, postgres, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.chdir(tmp_path)
    for number, score in enumerate((0.7, 0.8), start=1):
        bundle = write_toy_bundle(tmp_path / str(number), metrics={"macro_iou": score})
        proof = tmp_path / f"{number}.json"
        proof.write_text(json.dumps({"bundle_sha256": bundle_sha256(bundle), **PASSED}))
        made = versions.register(bundle, NAME, verification=proof)
        assert made.number == number
        assert versions.register(bundle, NAME).number == number
    assert promote(NAME, 1, examine=lambda _: exam(0.7, 0.7)) is not None

    def lose(_):
        postgres.stop()
        return exam(0.9, 0.9)

    with pytest.raises(ResourceError, match="MLflow at http"):
        promote(NAME, 2, examine=lose)
    postgres.start()
    assert standing_of(NAME).champion == 1
    assert promote(NAME, 2, examine=lambda _: exam(0.9, 0.9)) is not None
    listed = versions.list_versions(NAME)
    assert [v.aliases for v in listed] == [("previous",), ("candidate", "champion")]
    assert rollback(NAME).number == 1
    versions.fetch(NAME, "champion", tmp_path / "fetched")
    assert bundle_sha256(tmp_path / "fetched") == bundle_sha256(tmp_path / "1")
    assert versions.list_names() == [NAME]
