"""The quick form of `make benchmark-cost`: cells run once, the page names what was not run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.cost import cells as cost_cells
from benchmarks.cost.cells import Bench, extrapolated
from benchmarks.cost.data import edge_of
from benchmarks.cost.figures import memory_mib
from benchmarks.cost.page import write_page
from spixgraph.config.params import load_params
from spixgraph.files import write_json
from tests.pipelines.conftest import REPOSITORY, run

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(600)]


def test_cells_are_kept_and_the_page_names_what_was_not_run(tmp_path: Path) -> None:
    for folder in ("src", "benchmarks", "pipelines", "params.yaml"):
        (tmp_path / folder).symlink_to(REPOSITORY / folder)
    options = ["--quick", "--only", "train", "--models", "mlp,unet-whole"]
    command = ["python", "-m", "benchmarks.cost", *options]
    first = run(*command, cwd=tmp_path)
    assert first.stderr.count(" runs\n") == 2
    out = tmp_path / "runs/cost/quick"
    kept = {p.stem: p.read_bytes() for p in (out / "cost/train").glob("*.json")}
    assert set(kept) == {"mlp-0.25-mp", "unet-whole-0.25-mp"}
    mlp, unet = (json.loads(kept[name]) for name in sorted(kept))
    assert set(mlp["phases"]) == {"superpixels", "graphs", "training"}
    assert set(unet["phases"]) == {"training"}
    assert len(unet["steps"]) == 2
    assert unet["n_pixels"] == mlp["n_pixels"] == 512**2
    for phase in (*mlp["phases"].values(), *unet["phases"].values()):
        assert phase["cpu_seconds"] > 0
        assert phase["peak_rss_bytes"] >= phase["baseline_rss_bytes"] > 0
    page = (out / "cost.md").read_text()
    assert "- GNN, train" in page
    assert "training memory at 64 MP" in page
    assert (out / "cost/cost.png").stat().st_size > 1000
    again = run(*command, cwd=tmp_path)
    assert again.stderr.count("is known") == 2
    assert kept == {p.stem: p.read_bytes() for p in (out / "cost/train").glob("*.json")}


def cell(model: str, megapixels: float, mib: float, seconds: float) -> dict[str, Any]:
    """A made-up training of two steps of a second each."""
    phase = {
        "seconds": seconds, "cpu_seconds": seconds, "baseline_rss_bytes": 100 << 20,
        "peak_rss_bytes": int((100 + mib) * 2**20), "gpu_tensor_bytes": 0,
        "gpu_process_bytes": None,
    }  # fmt: skip
    return {
        "key": "k", "model": model, "megapixels": megapixels, "image": "made up",
        "phases": {"training": phase}, "idle_bytes": 100 << 20, "steps": [[0, 0], [1, 1]],
        "n_pixels": edge_of(megapixels) ** 2, "plan": {"epochs": 2, "steps": 3},
        "load_before": 0.0, "machine": {"cores": 2, "processor": "x"},
    }  # fmt: skip


def test_goals_are_judged_by_what_was_measured_or_marked(tmp_path: Path) -> None:
    made = [
        ("gnn", 64.0, 100, 5), ("unet-patch", 64.0, 299, 5),
        ("unet-whole", 1.0, 1000, 5), ("unet-whole", 4.0, 4000, 5),
    ]  # fmt: skip
    for model, megapixels, mib, seconds in made:
        path = tmp_path / f"cost/train/{model}-{megapixels:g}-mp.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, cell(model, megapixels, mib, seconds))
    write_page(tmp_path)
    page = (tmp_path / "cost.md").read_text()
    assert "of a whole-image U-Net's | at most 1/20 | (1/640) | met |" in page
    assert "of a U-Net's on patches | at most 1/3 | 1/2.99 | missed |" in page
    assert (
        "inference seconds per megapixel at 4 MP, of a U-Net's | at most 1/5 | n/a | not run |"
        in page
    )
    assert "(64,000)" in page


def test_between_two_sizes_a_figure_lies_between_theirs() -> None:
    cells = [cell("gnn", 1.0, 100, 5), cell("gnn", 4.0, 400, 5)]
    assert str(memory_mib(cells, 2.0)) == "(200)"
    assert str(memory_mib(cells, 4.0)) == "400"
    assert memory_mib(cells, 0.5) is None


def test_what_would_take_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(request: dict[str, Any]) -> None:
        raise AssertionError(request)

    monkeypatch.setattr(cost_cells, "_child", never)
    path = tmp_path / "out/train/unet-whole-1-mp.json"
    path.parent.mkdir(parents=True)
    write_json(path, cell("unet-whole", 1.0, 600, 5))
    plane = np.zeros((64, 64), np.uint8)
    params = load_params(REPOSITORY / "params.yaml")
    bench = Bench(tmp_path / "out", tmp_path, "x", plane, plane, params, 2**30, 100.0)
    assert "GiB of 1.0 that may be taken" in bench.make("train", "unet-whole", 4.0)["refused"]
    write_json(path, cell("unet-whole", 1.0, 1, 60))
    assert "240 processor seconds of 100" in bench.make("train", "unet-whole", 4.0)["refused"]


def test_lines_go_on_through_the_last_two_points() -> None:
    assert extrapolated([(2, 10)], 4) == 20
    assert extrapolated([(1, 99), (2, 10), (4, 30)], 8) == 70
    assert extrapolated([(2, 10), (4, 9)], 8) == 9  # never less than what was seen


def test_options_that_cannot_be_met_say_what_to_do(tmp_path: Path) -> None:
    command = ("python", "-m", "benchmarks.cost")
    said = run(*command, "--data", str(tmp_path), cwd=REPOSITORY, check=False)
    assert said.returncode == 2
    assert "name another set by --base" in said.stderr
    said = run(*command, "--quick", "--models", "unet", cwd=REPOSITORY, check=False)
    assert "unet is not of gnn, mlp" in said.stderr
