"""Say where the results of the pipeline are."""

from pathlib import Path

from pipelines._stage import stage
from spixgraph.files import read_json
from spixgraph.stages.reporting import write_report
from spixgraph.stages.run import Run


def where(run: Run) -> None:
    """Print the main table and the places to look at."""
    layout = run.layout
    if not (layout.reports / "report.md").is_file():
        write_report(run)
    selected = read_json(layout.selected)
    here = Path.cwd()
    print((layout.reports / "report.md").read_text(encoding="utf-8"))
    print(f"selected  {selected['name']}, seed {selected['seed']}: {selected['reason']}")
    print(f"report    {layout.reports / 'report.html'}")
    print(f"masks     {layout.masks(selected['name'], selected['seed'])}")
    print(f"bundle    {layout.bundle}")
    print(f"runs      cd {here} && mlflow ui --backend-store-uri sqlite:///mlflow.db")
    print(f"use it    spixgraph segment IMAGE mask.tif --model {layout.bundle}")


if __name__ == "__main__":
    stage(where)
