"""The quick form of `make benchmark-engine`: cells run once, the page names what was not run."""

import json
from pathlib import Path

import pytest

from tests.pipelines.conftest import REPOSITORY, run

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(600)]


def test_cells_are_kept_and_the_page_names_what_was_not_run(tmp_path: Path):
    for folder in ("src", "benchmarks"):
        (tmp_path / folder).symlink_to(REPOSITORY / folder)
    command = ["python", "-m", "benchmarks.engine", "--quick"]
    first = run(*command, cwd=tmp_path)
    assert first.stderr.count(" runs\n") == 3
    out = tmp_path / "runs/engine/quick"
    cells = {p.relative_to(out): p.read_bytes() for p in out.rglob("*.json")}
    assert sorted(p.as_posix() for p in cells) == [
        "engine/compare/0.25-mp-0.json",
        "engine/scale/0.25-mp.json",
        "engine/stages.json",
    ]
    runs = json.loads(cells[Path("engine/compare/0.25-mp-0.json")])["runs"]
    assert {"spixgraph", "spixgraph, 1 thread", "skimage SLIC", "paper: SLIC + features"} <= set(
        runs
    )
    assert all(run["seconds"] > 0 and run["peak_bytes"] > 0 for run in runs.values())
    assert runs["spixgraph"]["written_bytes"] > runs["skimage SLIC"]["written_bytes"] == 0
    stages = json.loads(cells[Path("engine/stages.json")])
    parts = sum(stages["ns_per_px"].values()) + stages["other_ns_per_px"]
    assert parts == pytest.approx(stages["total_ns_per_px"])
    assert len(stages["ns_per_px"]) == 11
    assert min(stages["ns_per_px"].values()) > 0
    page = (out / "engine.md").read_text()
    assert "Not run: ceiling." in page
    assert page.count("|---") + page.count("| ---") >= 3
    for picture in ("scale", "stages"):
        assert (out / f"engine/{picture}.png").stat().st_size > 1000
    again = run(*command, cwd=tmp_path)
    assert again.stderr.count("is known") == 3
    assert cells == {p.relative_to(out): p.read_bytes() for p in out.rglob("*.json")}


def test_options_that_cannot_be_met_say_what_to_do(tmp_path: Path):
    command = ("python", "-m", "benchmarks.engine")
    said = run(*command, "--data", str(tmp_path), cwd=REPOSITORY, check=False)
    assert said.returncode == 2
    assert "name another set by --base" in said.stderr
    said = run(*command, "--quick", "--only", "speed", cwd=REPOSITORY, check=False)
    assert "--only must be of compare, scale" in said.stderr
