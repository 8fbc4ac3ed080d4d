"""The page of the benchmark: what is known, against the goals, and what is missing."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.accuracy.cells import Cell
from benchmarks.accuracy.tables import (
    MODELS,
    Figure,
    Group,
    accuracy_table,
    boundary_f1,
    cost_table,
    draw,
    draw_courses,
    gain,
    inference_seconds,
    macro_iou,
    number_if_known,
    ratio,
    selected_seconds,
    train_seconds,
)
from spixgraph.config.params import ModelName
from spixgraph.evaluate.markdown import markdown_table
from spixgraph.evaluate.tables import UNKNOWN, Table, budget_table, number, score
from spixgraph.files import atomic_path, read_json

SETS = (
    "plantseg_nuclei3d", "nist_hesc_colonies", "axon_tem", "pyimsegm_ovary", "dsb2018",
    "flyem_medulla3d", "axon_sem", "usiigaci_phase", "nasa_meltpool_strips",
)  # fmt: skip

_SEED_NOISE = 0.01
"""Macro IoU by which seeds of one model differ on small sets, see docs/decisions/020."""

_INTRODUCTION = """# Accuracy and cost

`make benchmark-accuracy DATA=...` runs each data set, model and seed in a process of its own and
writes this page. Settings are those of `params.yaml` and `pipelines/overrides/`, chosen on train
and val; figures are of the test split, counts pooled over images. Several seeds stand as mean and,
in brackets, half the range. Seconds of training hold superpixels and graphs of the training images,
and whatever else the machine did; where a training was stopped and went on, they are not known.
Processor seconds are those of all threads of the training. Inference runs from the image file to
the mask. The JSON behind each figure, with the curve of each training, the threads it had and the
git revision, lies in [accuracy/](accuracy/): a cell stays on the page until it is run again, also
where the code has changed since. The pixel decoder of the MLP is linear, that of the GNN has hidden
values where superpixels are small ([decision 039](../decisions/039-hidden-values-of-pixels.md)) and
a network of the overview where val gains by it ([decision 041](../decisions/041-context.md)), so
*gnn - mlp* may hold both.
**Cells that are not there were not run, and nothing is concluded about them.**
"""


def known_cells(folder: Path) -> list[Cell]:
    """Read the cells that lie below `folder`, in a fixed order."""
    return [read_json(path) for path in sorted(folder.glob("*/*-seed*.json"))]


def write_page(cells: Sequence[Cell], out: Path, *, sets: Sequence[str]) -> None:
    """Write accuracy.md and, where there is a cell, its pictures."""
    groups = grouped(cells, sets)
    out.mkdir(parents=True, exist_ok=True)
    if groups:
        draw(groups, out / "accuracy.png")
        draw_courses(groups, out / "accuracy-courses.png")
    with atomic_path(out / "accuracy.md") as part:
        part.write_text(page(groups, sets), encoding="utf-8")


def grouped(cells: Sequence[Cell], sets: Sequence[str]) -> list[Group]:
    """Put the cells of each data set together; sets without any are left out."""
    names = [*sets, *sorted({c["dataset"] for c in cells} - set(sets))]
    groups = []
    for name in names:
        own = [c for c in cells if c["dataset"] == name]
        rag = [c["ceiling"] for c in own if c["name"] in ("gnn", "mlp") and c["ceiling"]]
        if own:
            groups.append(
                {"dataset": name, "models": own, "ceiling": {"rag": rag[0] if rag else {}}}
            )
    return groups


def page(groups: Sequence[Group], sets: Sequence[str]) -> str:
    """Put all tables together, as Markdown."""
    parts = [_INTRODUCTION, missing(groups, sets)]
    if groups:
        parts += [markdown_table(accuracy_table(groups)), goal(groups)]
        parts += [unfinished(groups), worth_of_messages(groups), boundary_goal(groups)]
        parts += [markdown_table(cost_table(groups))]
        parts += [cost_goal(groups, "training time to the selected epoch", selected_seconds, 0.1)]
        parts += [cost_goal(groups, "inference time per megapixel", inference_seconds, 0.2)]
        parts += ["![accuracy against cost](accuracy.png)"]
        parts += ["![score on val on the way of each training](accuracy-courses.png)"]
        parts += [markdown_table(course_table(groups))]
        for group in groups:
            parts += [f"## {group['dataset']}", markdown_table(budget_table(group))]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def missing(groups: Sequence[Group], sets: Sequence[str]) -> str:
    """Say which models have no cell at all, set by set."""
    found = {g["dataset"]: {c["name"] for c in g["models"]} for g in groups}
    lines = []
    for name in sets:
        absent = [model for model in MODELS if model not in found.get(name, set())]
        if absent:
            lines.append(f"- {name}: {', '.join(absent)}")
    return "Missing cells:\n\n" + "\n".join(lines) if lines else "No cell is missing."


def goal(groups: Sequence[Group]) -> str:
    """Say on how many sets the goal for accuracy is met, of those where it can be judged."""
    differences = gains(groups, "cnn")
    if not differences:
        return "Goal (gnn - cnn >= 0 on 7 of 9 sets, > -0.01 on the rest): no set has both models."
    reached = sum(d >= 0 for d in differences.values())
    behind = [name for name, d in differences.items() if d <= -0.01]
    return (
        f"Goal (gnn - cnn >= 0 on 7 of 9 sets, > -0.01 on the rest): {len(differences)} sets have "
        f"both models; gnn is at or above on {reached}; more than 0.01 behind on "
        f"{', '.join(behind) or 'none'}."
    )


def unfinished(groups: Sequence[Group]) -> str:
    """Name the sets whose U-Net a limit ended before it had converged."""
    names = [
        group["dataset"]
        for group in groups
        if any(
            cell["name"] == "cnn" and cell["train"].get("ended_by") == "minutes"
            for cell in group["models"]
        )
    ]
    return (
        "U-Nets that a limit of minutes ended, so that longer training may find better ones: "
        f"{', '.join(names) or 'none'}."
    )


def worth_of_messages(groups: Sequence[Group]) -> str:
    """Say on which sets message passing helps, and on which it can't be told from none."""
    differences = gains(groups, "mlp")
    if not differences:
        return "Goal (gnn - mlp > 0 on every set): no set has both models."
    behind = [name for name, d in differences.items() if d <= 0]
    unsure = [name for name, d in differences.items() if 0 < d < _SEED_NOISE]
    return (
        f"Goal (gnn - mlp > 0 on every set): {len(differences)} sets have both models; message "
        f"passing does not help on {', '.join(behind) or 'none'}; it gains less than "
        f"{_SEED_NOISE:g}, as another seed can, on {', '.join(unsure) or 'none'}."
    )


def boundary_goal(groups: Sequence[Group]) -> str:
    """Say on which sets the GNN's boundaries are worse than the U-Net's."""
    differences = gains(groups, "cnn", boundary_f1)
    if not differences:
        return "Goal (boundary F1, gnn - cnn >= -0.01): no set has both models."
    behind = [name for name, d in differences.items() if d < -0.01]
    return (
        f"Goal (boundary F1, gnn - cnn >= -0.01): met on {len(differences) - len(behind)} of "
        f"{len(differences)} sets; missed on {', '.join(behind) or 'none'}."
    )


def cost_goal(groups: Sequence[Group], name: str, figure: Figure, limit: float) -> str:
    """Say on which sets a cost of the GNN is at most `limit` of the U-Net's."""
    known = {
        group["dataset"]: part for group in groups if (part := ratio(group, figure)) is not None
    }
    if not known:
        return f"Goal ({name}, gnn / cnn <= {limit:g}): no set has both models."
    above = [f"{dataset} ({number(part)})" for dataset, part in known.items() if part > limit]
    return (
        f"Goal ({name}, gnn / cnn <= {limit:g}): met on {len(known) - len(above)} of {len(known)} "
        f"sets; missed on {', '.join(above) or 'none'}."
    )


def gains(
    groups: Sequence[Group], other: ModelName, figure: Figure = macro_iou
) -> dict[str, float]:
    """Say what the GNN has over another model, means over seeds, where both are known."""
    return {
        group["dataset"]: difference
        for group in groups
        if (difference := gain(group, figure, other)) is not None
    }


def course_table(groups: Sequence[Group]) -> Table:
    """Give each training: seconds, epochs and why it ended."""
    rows = tuple(
        (
            group["dataset"],
            c["name"],
            str(c["seed"]),
            score(c["val_metrics"]["macro_iou"]),
            score(c["metrics"]["macro_iou"]),
            number_if_known(train_seconds(c)),
            number_if_known(c["train"].get("cpu_seconds")),
            str(len(c["train"]["curve"])) if "curve" in c["train"] else UNKNOWN,
            c["train"].get("ended_by", UNKNOWN),
        )
        for group in groups
        for c in group["models"]
    )
    head = ("data set", "model", "seed", "val macro IoU", "test macro IoU", "train s")
    return Table("Each training", (*head, "processor s", "epochs", "ended by"), rows)
